"""Configs of mixtures of experts, for `tests.reference`."""

from collections.abc import Callable

from transformers import (
    GptOssConfig,
    GraniteMoeConfig,
    MixtralConfig,
    OlmoeConfig,
    PretrainedConfig,
    Qwen2MoeConfig,
    Qwen3MoeConfig,
)

_SMALL = {
    "vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "pad_token_id": None, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
_WIDTH = {"intermediate_size": 20}
_EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2}
_LOCAL = {"num_local_experts": 6, "num_experts_per_tok": 2}
_QWEN = _EXPERTS | {"moe_intermediate_size": 20, "intermediate_size": 48}
_YARN = {
    "rope_type": "yarn", "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0, "rope_theta": 150_000.0,
    "truncate": False, "original_max_position_embeddings": 16,
}  # fmt: skip

MIXTURES: dict[str, Callable[[], PretrainedConfig]] = {
    "mixtral-window": lambda: MixtralConfig(**_SMALL, **_WIDTH, **_LOCAL, head_dim=8, sliding_window=4),
    "mixtral-relu-tied": lambda: MixtralConfig(
        **_SMALL, **_WIDTH, **_LOCAL | {"num_local_experts": 8}, hidden_act="relu", tie_word_embeddings=True
    ),
    "mixtral-one-expert-of-three-odd-sizes": lambda: MixtralConfig(
        **_SMALL | {"hidden_size": 36, "num_attention_heads": 3, "num_key_value_heads": 1, "vocab_size": 97},
        intermediate_size=13, num_local_experts=3, num_experts_per_tok=1, hidden_act="gelu",
    ),
    "qwen3-moe-dense-layer": lambda: Qwen3MoeConfig(
        **_SMALL, **_QWEN, head_dim=16, norm_topk_prob=True, mlp_only_layers=[1]
    ),
    "qwen3-moe-weights-as-they-are-every-other-layer": lambda: Qwen3MoeConfig(
        **_SMALL | {"num_hidden_layers": 4}, **_QWEN, head_dim=8, decoder_sparse_step=2, attention_bias=True
    ),
    "qwen3-moe-all-experts-one-kv-head": lambda: Qwen3MoeConfig(
        **_SMALL | {"num_key_value_heads": 1}, **_QWEN | {"num_experts": 4, "num_experts_per_tok": 4}, head_dim=10,
        use_sliding_window=True, sliding_window=5, tie_word_embeddings=True,
    ),
    "qwen2-moe-shared-expert": lambda: Qwen2MoeConfig(**_SMALL, **_QWEN, shared_expert_intermediate_size=24),
    "qwen2-moe-windows-renormalized": lambda: Qwen2MoeConfig(
        **_SMALL, **_QWEN, shared_expert_intermediate_size=12, norm_topk_prob=True, use_sliding_window=True,
        sliding_window=4, max_window_layers=2, qkv_bias=False,
    ),
    "qwen2-moe-one-kv-head-odd-sizes": lambda: Qwen2MoeConfig(
        **_SMALL | {"hidden_size": 36, "num_attention_heads": 3, "num_key_value_heads": 1},
        **_QWEN | {"moe_intermediate_size": 11}, shared_expert_intermediate_size=7, mlp_only_layers=[0],
    ),
    "olmoe-clipped": lambda: OlmoeConfig(**_SMALL, **_WIDTH, **_EXPERTS, clip_qkv=0.5),
    "olmoe-renormalized-biases": lambda: OlmoeConfig(
        **_SMALL, **_WIDTH, **_EXPERTS, norm_topk_prob=True, attention_bias=True
    ),
    "olmoe-many-experts-tied": lambda: OlmoeConfig(
        **_SMALL | {"num_key_value_heads": 1}, intermediate_size=9, num_experts=16, num_experts_per_tok=5,
        tie_word_embeddings=True,
    ),
    "granitemoe-multipliers": lambda: GraniteMoeConfig(
        **_SMALL, **_WIDTH, **_LOCAL, embedding_multiplier=3.0, residual_multiplier=0.4, attention_multiplier=0.2,
        logits_scaling=2.0,
    ),
    "granitemoe-tied-biases": lambda: GraniteMoeConfig(
        **_SMALL, **_WIDTH, **_LOCAL, embedding_multiplier=2.0, tie_word_embeddings=True, attention_bias=True
    ),
    "granitemoe-one-kv-head-odd-sizes": lambda: GraniteMoeConfig(
        **_SMALL | {"hidden_size": 36, "num_attention_heads": 3, "num_key_value_heads": 1},
        intermediate_size=13, num_local_experts=5, num_experts_per_tok=3,
    ),
    "gpt-oss-sinks-windows": lambda: GptOssConfig(
        **_SMALL, **_WIDTH, **_LOCAL, head_dim=8, sliding_window=4, attention_bias=True, rope_parameters=_YARN
    ),
    "gpt-oss-without-attention-biases": lambda: GptOssConfig(
        **_SMALL | {"num_key_value_heads": 1}, intermediate_size=13, num_local_experts=3, num_experts_per_tok=3,
        head_dim=12, sliding_window=3, attention_bias=False, rope_parameters=_YARN,
    ),
    "gpt-oss-low-limit-listed-windows": lambda: GptOssConfig(
        **_SMALL | {"num_attention_heads": 2}, **_WIDTH, **_LOCAL, head_dim=16, sliding_window=5, swiglu_limit=0.4,
        swiglu_alpha=1.2, layer_types=["full_attention", "sliding_attention", "sliding_attention"],
        rope_parameters={"rope_type": "default", "rope_theta": 1e4}, tie_word_embeddings=True,
    ),
}  # fmt: skip
"""Configs by what is special about each."""
