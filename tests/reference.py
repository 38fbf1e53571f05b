"""Tiny random checkpoints written by `transformers`, an independent reference."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import (
    ArceeConfig,
    Cohere2Config,
    Ernie4_5Config,
    Exaone4Config,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    Glm4Config,
    GPT2Config,
    GPTNeoXConfig,
    GraniteConfig,
    HunYuanDenseV1Config,
    LlamaConfig,
    Ministral3Config,
    MistralConfig,
    NemotronConfig,
    Olmo2Config,
    Olmo3Config,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
    SeedOssConfig,
    SmolLM3Config,
    StableLmConfig,
    Starcoder2Config,
)

from tests.reference_mixtures import MIXTURES

_LLAMA = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 88, "num_hidden_layers": 3, "pad_token_id": None}
_NEOX = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2}
_SMALL = _LLAMA | {"num_attention_heads": 4, "num_key_value_heads": 2}
_GPT2 = {"vocab_size": 96, "n_layer": 2, "n_positions": 64}

_MINISTRAL = {
    "rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0,
    "mscale_all_dim": 1.0, "original_max_position_embeddings": 8, "llama_4_scaling_beta": 0.1,
}  # fmt: skip

REFERENCES: dict[str, Callable[[], PretrainedConfig]] = {
    "llama-grouped-tied": lambda: LlamaConfig(
        **_LLAMA, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True
    ),
    "llama-full-heads-untied": lambda: LlamaConfig(**_LLAMA, num_attention_heads=2, num_key_value_heads=2),
    "llama-biases-explicit-head-dim-gelu": lambda: LlamaConfig(
        **_LLAMA, num_attention_heads=4, num_key_value_heads=1, head_dim=16, attention_bias=True, mlp_bias=True,
        hidden_act="gelu", rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
    ),
    "llama-odd-sizes-relu": lambda: LlamaConfig(
        **_LLAMA | {"vocab_size": 97, "hidden_size": 36, "intermediate_size": 43},
        num_attention_heads=3, num_key_value_heads=3, hidden_act="relu",
    ),
    "gpt2-tied": lambda: GPT2Config(**_GPT2, n_embd=32, n_head=4),
    "gpt2-untied-odd-sizes": lambda: GPT2Config(
        **_GPT2 | {"vocab_size": 91}, n_embd=30, n_head=3, n_inner=50, tie_word_embeddings=False
    ),
    "neox-partial-rotary-parallel": lambda: GPTNeoXConfig(**_NEOX, num_attention_heads=2, rotary_pct=0.25),
    "neox-full-rotary-sequential-relu": lambda: GPTNeoXConfig(
        **_NEOX, num_attention_heads=4, rotary_pct=1.0, use_parallel_residual=False, hidden_act="relu"
    ),
    "neox-tied-without-attention-bias": lambda: GPTNeoXConfig(
        **_NEOX, num_attention_heads=2, rotary_pct=0.5, attention_bias=False, tie_word_embeddings=True
    ),
    "llama-linear-scaling": lambda: LlamaConfig(
        **_SMALL, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
    ),
    "llama-dynamic-scaling": lambda: LlamaConfig(
        **_SMALL, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
    ),
    "llama-llama3-scaling": lambda: LlamaConfig(
        **_SMALL, max_position_embeddings=64, rope_parameters={
            "rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 24,
        },
    ),
    "llama-yarn-scaling": lambda: LlamaConfig(
        **_SMALL | {"hidden_size": 64}, max_position_embeddings=64, rope_parameters={
            "rope_type": "yarn", "rope_theta": 50.0, "factor": 4.0, "beta_fast": 4.0, "beta_slow": 0.5,
            "original_max_position_embeddings": 16,
        },
    ),
    "mistral-window": lambda: MistralConfig(**_SMALL, sliding_window=4),
    "mistral-without-window": lambda: MistralConfig(**_SMALL, sliding_window=None, head_dim=16),
    "qwen2-tied": lambda: Qwen2Config(**_SMALL, tie_word_embeddings=True),
    "qwen2-windows-in-upper-layers": lambda: Qwen2Config(
        **_SMALL, use_sliding_window=True, sliding_window=3, max_window_layers=1
    ),
    "qwen3-head-dim-of-its-own": lambda: Qwen3Config(**_SMALL, head_dim=16, attention_bias=True),
    "smollm3-layers-without-positions": lambda: SmolLM3Config(
        **_SMALL | {"num_hidden_layers": 4}, no_rope_layer_interval=2, bos_token_id=0, eos_token_id=0
    ),
    "starcoder2-biases": lambda: Starcoder2Config(**_SMALL, bos_token_id=0, eos_token_id=0),
    "starcoder2-without-biases-window": lambda: Starcoder2Config(
        **_SMALL, use_bias=False, sliding_window=5, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0
    ),
    "opt-relu": lambda: OPTConfig(
        vocab_size=96, hidden_size=32, ffn_dim=100, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=40, word_embed_proj_dim=32,
    ),
    "opt-350m-normed-sums-projected": lambda: OPTConfig(
        vocab_size=96, hidden_size=32, ffn_dim=100, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=40, word_embed_proj_dim=20, do_layer_norm_before=False,
    ),
    "opt-without-biases-untied": lambda: OPTConfig(
        vocab_size=96, hidden_size=32, ffn_dim=100, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=40, enable_bias=False, tie_word_embeddings=False, activation_function="gelu",
    ),
    "olmo2-norms-after": lambda: Olmo2Config(**_SMALL),
    "granite-multipliers-tied": lambda: GraniteConfig(
        **_SMALL, embedding_multiplier=3.0, residual_multiplier=0.4, attention_multiplier=0.2, logits_scaling=2.0,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
    ),
    "granite-multipliers-untied": lambda: GraniteConfig(
        **_SMALL, embedding_multiplier=3.0, residual_multiplier=0.4, attention_multiplier=0.2, logits_scaling=2.0,
        attention_bias=True, bos_token_id=0, eos_token_id=0,
    ),
    "gemma-wide-embedding": lambda: GemmaConfig(**_SMALL, head_dim=16),
    "gemma2-caps-windows-norms-around": lambda: Gemma2Config(
        **_SMALL, head_dim=16, sliding_window=4, query_pre_attn_scalar=7, attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
    ),
    "gemma2-odd-head-dim": lambda: Gemma2Config(
        **_SMALL | {"hidden_size": 36}, head_dim=10, sliding_window=3, attn_logit_softcapping=2.0,
        final_logit_softcapping=None,
    ),
    "gemma3-two-bases": lambda: Gemma3TextConfig(
        **_SMALL | {"num_hidden_layers": 4}, head_dim=16, sliding_window=4, query_pre_attn_scalar=9,
        layer_types=["sliding_attention", "full_attention"] * 2,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e3},
        },
    ),
    "phi-parallel-partial-rotary": lambda: PhiConfig(**_SMALL | {"hidden_size": 64}),
    "phi-normed-heads": lambda: PhiConfig(**_SMALL | {"num_key_value_heads": 4}, qk_layernorm=True),
    "stablelm-sequential": lambda: StableLmConfig(**_SMALL | {"hidden_size": 64}, use_qkv_bias=True),
    "stablelm-parallel": lambda: StableLmConfig(**_SMALL | {"hidden_size": 64}, use_parallel_residual=True),
    "stablelm-norms-of-every-head": lambda: StableLmConfig(
        **_SMALL | {"hidden_size": 64}, qk_layernorm=True, use_parallel_residual=True
    ),
    "stablelm-norms-of-every-head-one-kv-head": lambda: StableLmConfig(
        **_SMALL | {"hidden_size": 48, "num_key_value_heads": 1}, qk_layernorm=True, use_qkv_bias=True,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
    ),
    "phi3-fused": lambda: Phi3Config(**_SMALL, sliding_window=6, bos_token_id=0, eos_token_id=0),
    "phi3-longrope": lambda: Phi3Config(
        **_SMALL | {"hidden_size": 64}, bos_token_id=0, eos_token_id=0,
        max_position_embeddings=128, original_max_position_embeddings=32, rope_parameters={
            "rope_type": "longrope", "rope_theta": 1e4, "partial_rotary_factor": 0.5,
            "short_factor": [1.0, 1.1, 1.5, 2.0], "long_factor": [1.0, 2.0, 4.0, 8.0],
        },
    ),
    "gpt2-one-head-relu": lambda: GPT2Config(**_GPT2, n_embd=24, n_head=1, activation_function="relu"),
    "mistral-one-kv-head-explicit-head-dim": lambda: MistralConfig(
        **_SMALL | {"num_key_value_heads": 1}, head_dim=12, sliding_window=2, tie_word_embeddings=True
    ),
    "qwen2-one-kv-head-listed-windows": lambda: Qwen2Config(
        **_SMALL | {"num_key_value_heads": 1}, use_sliding_window=True, sliding_window=5,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "qwen3-windows-tied": lambda: Qwen3Config(
        **_SMALL, head_dim=8, use_sliding_window=True, sliding_window=3, max_window_layers=2, tie_word_embeddings=True
    ),
    "qwen3-one-kv-head-odd-sizes": lambda: Qwen3Config(
        **_SMALL | {"hidden_size": 36, "intermediate_size": 43, "num_attention_heads": 3, "num_key_value_heads": 1},
        head_dim=10,
    ),
    "smollm3-biases-untied": lambda: SmolLM3Config(
        **_SMALL, no_rope_layers=[0, 1, 0], attention_bias=True, mlp_bias=True, tie_word_embeddings=False,
        bos_token_id=0, eos_token_id=0,
    ),
    "smollm3-windows-where-nothing-turns": lambda: SmolLM3Config(
        **_SMALL | {"num_key_value_heads": 1}, no_rope_layer_interval=2, use_sliding_window=True, sliding_window=4,
        bos_token_id=0, eos_token_id=0,
    ),
    "starcoder2-one-kv-head-odd-sizes": lambda: Starcoder2Config(
        **_SMALL | {"hidden_size": 36, "num_attention_heads": 3, "num_key_value_heads": 1}, sliding_window=3,
        bos_token_id=0, eos_token_id=0,
    ),
    "opt-odd-sizes-silu": lambda: OPTConfig(
        vocab_size=91, hidden_size=30, ffn_dim=47, num_hidden_layers=3, num_attention_heads=3,
        max_position_embeddings=33, activation_function="silu",
    ),
    "olmo2-one-kv-head-biases": lambda: Olmo2Config(**_SMALL | {"num_key_value_heads": 1}, attention_bias=True),
    "olmo2-full-heads-tied-yarn": lambda: Olmo2Config(
        **_SMALL | {"num_key_value_heads": 4}, tie_word_embeddings=True, max_position_embeddings=64, rope_parameters={
            "rope_type": "yarn", "rope_theta": 50.0, "factor": 4.0, "original_max_position_embeddings": 16,
        },
    ),
    "granite-one-kv-head": lambda: GraniteConfig(
        **_SMALL | {"num_key_value_heads": 1}, attention_multiplier=0.5, mlp_bias=True, bos_token_id=0, eos_token_id=0
    ),
    "gemma-one-kv-head-biases": lambda: GemmaConfig(
        **_SMALL | {"num_key_value_heads": 1}, head_dim=8, attention_bias=True
    ),
    "gemma-untied-odd-sizes": lambda: GemmaConfig(
        **_SMALL | {"hidden_size": 36, "num_attention_heads": 3, "num_key_value_heads": 3}, head_dim=10,
        tie_word_embeddings=False,
    ),
    "gemma2-one-kv-head-no-caps": lambda: Gemma2Config(
        **_SMALL | {"num_key_value_heads": 1}, head_dim=8, sliding_window=2, query_pre_attn_scalar=20,
        attn_logit_softcapping=None, final_logit_softcapping=None, attention_bias=True,
    ),
    "gemma3-one-kv-head-pattern": lambda: Gemma3TextConfig(
        **_SMALL | {"num_key_value_heads": 1, "num_hidden_layers": 6}, head_dim=8, sliding_window=3
    ),
    "gemma3-logit-cap-untied": lambda: Gemma3TextConfig(
        **_SMALL, head_dim=10, sliding_window=5, query_pre_attn_scalar=3, final_logit_softcapping=2.0,
        tie_word_embeddings=False,
    ),
    "phi-full-rotary-odd-sizes": lambda: PhiConfig(
        **_SMALL | {"hidden_size": 36, "num_attention_heads": 3, "num_key_value_heads": 1},
        rope_parameters={"rope_type": "default", "rope_theta": 1e3, "partial_rotary_factor": 1.0},
    ),
    "stablelm-one-kv-head-half-rotary": lambda: StableLmConfig(
        **_SMALL | {"hidden_size": 48, "num_key_value_heads": 1}, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
    ),
    "phi3-one-kv-head-partial-rotary-tied": lambda: Phi3Config(
        **_SMALL | {"hidden_size": 64, "num_key_value_heads": 1}, bos_token_id=0, eos_token_id=0,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.75},
    ),
    "nemotron-squared-relu-half-rotary": lambda: NemotronConfig(**_SMALL | {"hidden_size": 64}),
    "nemotron-one-kv-head-odd-sizes-biases": lambda: NemotronConfig(
        **_SMALL | {"hidden_size": 36, "intermediate_size": 43, "num_attention_heads": 3, "num_key_value_heads": 1},
        head_dim=20, attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
    ),
    "nemotron-full-rotary-silu": lambda: NemotronConfig(
        **_SMALL | {"num_key_value_heads": 4}, hidden_act="silu", norm_eps=0.1,
        rope_parameters={"rope_type": "default", "rope_theta": 1e3, "partial_rotary_factor": 1.0},
    ),
    "arcee-squared-relu": lambda: ArceeConfig(**_SMALL, bos_token_id=0, eos_token_id=0),
    "arcee-one-kv-head-biases-tied": lambda: ArceeConfig(
        **_SMALL | {"num_key_value_heads": 1}, attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=0,
    ),
    "arcee-odd-sizes-yarn": lambda: ArceeConfig(
        **_SMALL | {"hidden_size": 36, "intermediate_size": 43, "num_attention_heads": 3, "num_key_value_heads": 3},
        head_dim=14, max_position_embeddings=64, bos_token_id=0, eos_token_id=0, rope_parameters={
            "rope_type": "yarn", "rope_theta": 50.0, "factor": 4.0, "original_max_position_embeddings": 16,
        },
    ),
    "seed-oss-biases-of-three": lambda: SeedOssConfig(**_SMALL, head_dim=16),
    "seed-oss-one-kv-head-all-biases-tied": lambda: SeedOssConfig(
        **_SMALL | {"num_key_value_heads": 1}, head_dim=12, attention_out_bias=True, mlp_bias=True,
        tie_word_embeddings=True,
    ),
    "seed-oss-odd-sizes-output-bias-alone": lambda: SeedOssConfig(
        **_SMALL | {"hidden_size": 36, "intermediate_size": 43, "num_attention_heads": 3, "num_key_value_heads": 3},
        head_dim=10, attention_bias=False, attention_out_bias=True,
    ),
    "glm4-neighbors-rotated-norms-around": lambda: Glm4Config(**_SMALL, head_dim=16),
    "glm4-one-kv-head-no-biases-tied": lambda: Glm4Config(
        **_SMALL | {"num_key_value_heads": 1}, head_dim=8, attention_bias=False, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e3, "partial_rotary_factor": 1.0},
    ),
    "glm4-odd-sizes-quarter-rotary": lambda: Glm4Config(
        **_SMALL | {"hidden_size": 36, "intermediate_size": 43, "num_attention_heads": 3, "num_key_value_heads": 3},
        head_dim=24, rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.25},
    ),
    "ernie-neighbors-rotated-tied": lambda: Ernie4_5Config(**_SMALL, head_dim=16),
    "ernie-one-kv-head-biases-untied": lambda: Ernie4_5Config(
        **_SMALL | {"num_key_value_heads": 1}, head_dim=8, use_bias=True, tie_word_embeddings=False
    ),
    "ernie-odd-sizes-linear-scaling": lambda: Ernie4_5Config(
        **_SMALL | {"hidden_size": 36, "intermediate_size": 43, "num_attention_heads": 3, "num_key_value_heads": 3},
        head_dim=10, use_bias=True, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0},
    ),
    "olmo3-windows-norms-after": lambda: Olmo3Config(**_SMALL | {"num_hidden_layers": 4}, sliding_window=4),
    "olmo3-yarn-in-full-layers": lambda: Olmo3Config(
        **_SMALL | {"num_key_value_heads": 1}, sliding_window=3, attention_bias=True, max_position_embeddings=64,
        layer_types=["full_attention", "sliding_attention", "full_attention"],
        rope_parameters={
            "full_attention": {
                "rope_type": "yarn", "rope_theta": 50.0, "factor": 8.0, "original_max_position_embeddings": 8,
            },
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e3},
        },
    ),
    "olmo3-odd-sizes-tied": lambda: Olmo3Config(
        **_SMALL | {"hidden_size": 30, "intermediate_size": 43, "num_attention_heads": 3, "num_key_value_heads": 3},
        sliding_window=2, tie_word_embeddings=True,
    ),
    "exaone4-full-layers-without-positions": lambda: Exaone4Config(
        **_SMALL | {"num_hidden_layers": 4}, sliding_window=4
    ),
    "exaone4-one-kv-head-no-window": lambda: Exaone4Config(
        **_SMALL | {"num_key_value_heads": 1}, head_dim=16, sliding_window=None, tie_word_embeddings=True,
        layer_types=["full_attention"] * 3,
    ),
    "exaone4-odd-sizes-llama3-scaling": lambda: Exaone4Config(
        **_SMALL | {"hidden_size": 36, "intermediate_size": 43, "num_attention_heads": 3, "num_key_value_heads": 3},
        head_dim=10, sliding_window=3, sliding_window_pattern=2, max_position_embeddings=64, rope_parameters={
            "rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 24,
        },
    ),
    "cohere2-shared-norm-without-bias": lambda: Cohere2Config(
        **_SMALL | {"num_hidden_layers": 4}, sliding_window=4, logit_scale=0.25
    ),
    "cohere2-one-kv-head-biases-untied": lambda: Cohere2Config(
        **_SMALL | {"num_key_value_heads": 1, "hidden_size": 64}, sliding_window=3, logit_scale=2.0,
        attention_bias=True, tie_word_embeddings=False,
        layer_types=["full_attention", "sliding_attention", "sliding_attention"],
    ),
    "cohere2-odd-sizes": lambda: Cohere2Config(
        **_SMALL | {"hidden_size": 30, "intermediate_size": 43, "num_attention_heads": 3, "num_key_value_heads": 3},
        sliding_window=2,
    ),
    "hunyuan-norms-after-rotation-alpha": lambda: HunYuanDenseV1Config(
        **_SMALL, head_dim=16,
        rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "alpha": 1000.0, "factor": 1.0},
    ),
    "hunyuan-one-kv-head-biases-tied": lambda: HunYuanDenseV1Config(
        **_SMALL | {"num_key_value_heads": 1}, head_dim=8, attention_bias=True, tie_word_embeddings=True
    ),
    "hunyuan-odd-sizes-dynamic-without-alpha": lambda: HunYuanDenseV1Config(
        **_SMALL | {"hidden_size": 36, "intermediate_size": 43, "num_attention_heads": 3, "num_key_value_heads": 3},
        head_dim=10, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0},
    ),
    "ministral3-yarn-growing-queries": lambda: Ministral3Config(
        **_SMALL, head_dim=16, rope_parameters=_MINISTRAL | {"llama_4_scaling_beta": 0.5}
    ),
    "ministral3-one-kv-head-window-tied": lambda: Ministral3Config(
        **_SMALL | {"num_key_value_heads": 1}, head_dim=8, sliding_window=5, tie_word_embeddings=True,
        rope_parameters=_MINISTRAL | {"original_max_position_embeddings": 3, "mscale": 0.7, "mscale_all_dim": 1.3},
    ),
    "ministral3-odd-sizes-unscaled-angles": lambda: Ministral3Config(
        **_SMALL | {"hidden_size": 36, "intermediate_size": 43, "num_attention_heads": 3, "num_key_value_heads": 3},
        head_dim=10, rope_parameters={
            "rope_type": "default", "rope_theta": 1e3, "llama_4_scaling_beta": 1.5,
            "original_max_position_embeddings": 2,
        },
    ),
} | MIXTURES  # fmt: skip
"""Configs by what is special about each."""


def random_model(config: PretrainedConfig) -> transformers.PreTrainedModel:
    """A random model of `transformers`.

    Weights are drawn larger than an untrained model's, so that logits and attention vary, biases included.
    """
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval().float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            center = (
                1.0 if ("norm" in name and name.endswith("weight")) or (".ln_" in name and "weight" in name) else 0.0
            )
            parameter.copy_(center + 0.15 * torch.randn_like(parameter))
    return model


def write_reference(config: PretrainedConfig, folder: Path, **options: object) -> transformers.PreTrainedModel:
    """Writes a random checkpoint as `transformers` does; returns the model behind it."""
    model = random_model(config)
    model.save_pretrained(folder, **options)
    return model


def reference_logits(model: transformers.PreTrainedModel, ids: list[int]) -> np.ndarray:
    """(token, vocab) logits of the reference, teacher-forced."""
    if isinstance(model.config, tuple(type(make()) for make in MIXTURES.values())):
        model.set_experts_implementation("eager")  # the grouped one needs sizes that are multiples of 16 bytes
    with torch.no_grad():
        return model(torch.tensor([ids]), return_dict=True).logits[0].float().numpy()
