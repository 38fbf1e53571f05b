"""Tiny models of every architecture that GGUF files have, as configs of transformers, in two sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import MODEL_ARCH_NAMES
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
    GptOssConfig,
    GraniteConfig,
    GraniteMoeConfig,
    HunYuanDenseV1Config,
    LlamaConfig,
    Ministral3Config,
    MistralConfig,
    MixtralConfig,
    NemotronConfig,
    Olmo2Config,
    Olmo3Config,
    OlmoeConfig,
    Phi3Config,
    PhiConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3MoeConfig,
    SeedOssConfig,
    SmolLM3Config,
    StableLmConfig,
    Starcoder2Config,
)

from tests.models.sources.converted import ARCHITECTURES


@dataclass(frozen=True)
class Size:
    """Widths of the residual stream, of a head, of an FFN and of an expert; rows are whole blocks."""

    d_model: int
    head_dim: int
    d_ff: int
    d_expert: int

    @property
    def usual(self) -> dict[str, Any]:
        """Keys of most configs: 4 query heads, of which two share keys."""
        return self.experts | {"intermediate_size": self.d_ff, "num_hidden_layers": 2}

    @property
    def experts(self) -> dict[str, Any]:
        """The same, without the width of the FFN."""
        return {
            "vocab_size": 96, "hidden_size": self.d_model, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "pad_token_id": None, "bos_token_id": 0, "eos_token_id": 0,
        }  # fmt: skip


SMALL, WIDE = Size(64, 16, 96, 32), Size(256, 64, 512, 256)
"""For blocks of 32 weights, and of 256."""

Make = Callable[[Size], PretrainedConfig]


@dataclass(frozen=True)
class Small:
    """A small random model of transformers, its folder, and its GGUF file in float32."""

    model: PreTrainedModel
    folder: Path
    file: Path


_LLAMA3: dict[str, Any] = {
    "rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 24,
}  # fmt: skip
_YARN: dict[str, Any] = {
    "rope_type": "yarn", "rope_theta": 50.0, "factor": 4.0, "beta_fast": 4.0, "beta_slow": 0.5,
    "original_max_position_embeddings": 16,
}  # fmt: skip
_MINISTRAL: dict[str, Any] = _YARN | {
    "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.5, "original_max_position_embeddings": 4,
}  # fmt: skip
_LOCAL: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2}
_EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2}
_GRANITE: dict[str, Any] = {
    "embedding_multiplier": 3.0, "residual_multiplier": 0.4, "attention_multiplier": 0.2, "logits_scaling": 2.0,
}  # fmt: skip
_OSS_YARN: dict[str, Any] = _YARN | {"truncate": False, "beta_fast": 32.0, "beta_slow": 1.0, "rope_theta": 150_000.0}


def _of_gemma(size: Size, **changes: Any) -> dict[str, Any]:
    return size.usual | {"head_dim": size.head_dim, "query_pre_attn_scalar": size.head_dim} | changes


def _rope(share: float) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": share}}


CASES: dict[str, Make] = {
    "llama": lambda size: LlamaConfig(**size.usual, rope_parameters={"rope_type": "default", "rope_theta": 5e5}),
    "llama-tied-biases-full-heads": lambda size: LlamaConfig(
        **size.usual | {"num_key_value_heads": 4}, tie_word_embeddings=True, attention_bias=True, mlp_bias=True
    ),
    "llama-llama3-scaling": lambda size: LlamaConfig(
        **size.usual, max_position_embeddings=64, rope_parameters=_LLAMA3
    ),
    "llama-linear-scaling": lambda size: LlamaConfig(
        **size.usual, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
    ),
    "llama-yarn-scaling-own-amplitude": lambda size: LlamaConfig(
        **size.usual, max_position_embeddings=64, rope_parameters=_YARN | {"attention_factor": 1.5}
    ),
    "mistral": lambda size: MistralConfig(**size.usual, sliding_window=None, head_dim=2 * size.head_dim),
    "mixtral": lambda size: MixtralConfig(**size.experts, intermediate_size=size.d_expert, **_LOCAL),
    "mistral3": lambda size: Ministral3Config(
        **size.usual, head_dim=size.head_dim, max_position_embeddings=64, rope_parameters=_MINISTRAL
    ),
    "qwen2": lambda size: Qwen2Config(**size.usual, rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
    "qwen2-tied-yarn": lambda size: Qwen2Config(
        **size.usual, tie_word_embeddings=True, max_position_embeddings=64, rope_parameters=_YARN
    ),
    "qwen2moe": lambda size: Qwen2MoeConfig(
        **size.usual, **_EXPERTS, moe_intermediate_size=size.d_expert, shared_expert_intermediate_size=size.d_ff
    ),
    "qwen3": lambda size: Qwen3Config(
        **size.usual, head_dim=2 * size.head_dim, attention_bias=True, tie_word_embeddings=True
    ),
    "qwen3moe": lambda size: Qwen3MoeConfig(
        **size.usual, **_EXPERTS, head_dim=size.head_dim, moe_intermediate_size=size.d_expert, norm_topk_prob=True
    ),
    "gemma": lambda size: GemmaConfig(**size.usual, head_dim=2 * size.head_dim),
    "gemma2": lambda size: Gemma2Config(
        **_of_gemma(size, num_hidden_layers=3), sliding_window=4, attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
    ),
    "gemma3-every-sixth-full-scaled": lambda size: Gemma3TextConfig(
        **_of_gemma(size, num_hidden_layers=6), sliding_window=4, rope_parameters={
            "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e3},
        },
    ),
    "gemma3-capped-unscaled": lambda size: Gemma3TextConfig(
        **_of_gemma(size), sliding_window=4, final_logit_softcapping=2.0
    ),
    "gemma3-without-window": lambda size: Gemma3TextConfig(
        **_of_gemma(size), layer_types=["full_attention"] * 2
    ),
    "phi2": lambda size: PhiConfig(
        **size.usual | {"intermediate_size": 4 * size.d_model, "num_key_value_heads": 4}, **_rope(0.5)
    ),
    "phi3-window": lambda size: Phi3Config(**size.usual, sliding_window=6),
    "phi3-partial-tied": lambda size: Phi3Config(
        **size.usual | {"num_key_value_heads": 1}, tie_word_embeddings=True, **_rope(0.75)
    ),
    "phi3-longrope": lambda size: Phi3Config(
        **size.usual, max_position_embeddings=128, original_max_position_embeddings=32, rope_parameters={
            "rope_type": "longrope", "rope_theta": 1e4, "partial_rotary_factor": 0.5,
            "short_factor": [1.0 + 0.25 * pair for pair in range(size.head_dim // 4)],
            "long_factor": [2.0 + pair for pair in range(size.head_dim // 4)],
        },
    ),
    "gpt2": lambda size: GPT2Config(vocab_size=96, n_layer=2, n_positions=64, n_embd=size.d_model, n_head=4),
    "gptneox-parallel": lambda size: GPTNeoXConfig(**_neox(size), rotary_pct=0.25),
    "gptneox-sequential": lambda size: GPTNeoXConfig(**_neox(size), rotary_pct=1.0, use_parallel_residual=False),
    "starcoder2": lambda size: Starcoder2Config(**size.usual, sliding_window=None),
    "starcoder2-without-biases-untied": lambda size: Starcoder2Config(
        **size.usual, sliding_window=None, use_bias=False, tie_word_embeddings=False
    ),
    "stablelm": lambda size: StableLmConfig(**size.usual, use_qkv_bias=True, **_rope(0.25)),
    "stablelm-norms-of-every-head": lambda size: StableLmConfig(
        **size.usual, qk_layernorm=True, use_parallel_residual=True, **_rope(0.5)
    ),
    "olmo2": lambda size: Olmo2Config(**size.usual),
    "olmo3": lambda size: Olmo3Config(**size.usual | {"num_hidden_layers": 4}, sliding_window=4),
    "olmo3-yarn-two-bases": lambda size: Olmo3Config(
        **size.usual | {"num_hidden_layers": 3}, sliding_window=3, max_position_embeddings=64,
        layer_types=["full_attention", "sliding_attention", "full_attention"],
        rope_parameters={
            "full_attention": _YARN | {"attention_factor": 1.3},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e3},
        },
    ),
    "olmoe": lambda size: OlmoeConfig(
        **size.experts, intermediate_size=size.d_expert, **_EXPERTS, clip_qkv=0.5
    ),
    "granite": lambda size: GraniteConfig(**size.usual, **_GRANITE),
    "granite-tied-biases": lambda size: GraniteConfig(
        **size.usual, **_GRANITE, tie_word_embeddings=True, attention_bias=True, mlp_bias=True
    ),
    "granitemoe": lambda size: GraniteMoeConfig(
        **size.experts, intermediate_size=size.d_expert, **_LOCAL, **_GRANITE, tie_word_embeddings=True
    ),
    "smollm3": lambda size: SmolLM3Config(**size.usual | {"num_hidden_layers": 4}, no_rope_layer_interval=4),
    "gpt-oss": lambda size: GptOssConfig(
        **size.experts, intermediate_size=size.d_expert, **_LOCAL, head_dim=size.head_dim, sliding_window=4,
        max_position_embeddings=64, rope_parameters=_OSS_YARN,
    ),
    "arcee": lambda size: ArceeConfig(**size.usual),
    "arcee-yarn-biases-tied": lambda size: ArceeConfig(
        **size.usual, max_position_embeddings=64, rope_parameters=_YARN, attention_bias=True, mlp_bias=True,
        tie_word_embeddings=True,
    ),
    "cohere2": lambda size: Cohere2Config(
        **size.usual | {"num_hidden_layers": 4}, sliding_window=4, logit_scale=0.25
    ),
    "ernie4_5": lambda size: Ernie4_5Config(**size.usual, head_dim=size.head_dim),
    "ernie4_5-biases-untied": lambda size: Ernie4_5Config(
        **size.usual, head_dim=2 * size.head_dim, use_bias=True, tie_word_embeddings=False
    ),
    "exaone4": lambda size: Exaone4Config(**size.usual | {"num_hidden_layers": 4}, sliding_window=4),
    "exaone4-without-window-llama3-scaling": lambda size: Exaone4Config(
        **size.usual, sliding_window=None, layer_types=["full_attention"] * 2, max_position_embeddings=64,
        rope_parameters=_LLAMA3, tie_word_embeddings=True,
    ),
    "glm4": lambda size: Glm4Config(**size.usual, head_dim=size.head_dim),
    "glm4-without-biases-quarter-rotary": lambda size: Glm4Config(
        **size.usual, head_dim=2 * size.head_dim, attention_bias=False, **_rope(0.25)
    ),
    "hunyuan-dense": lambda size: HunYuanDenseV1Config(**size.usual, head_dim=size.head_dim),
    "hunyuan-dense-alpha-tied": lambda size: HunYuanDenseV1Config(
        **size.usual, head_dim=size.head_dim, tie_word_embeddings=True,
        rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "alpha": 1000.0, "factor": 1.0},
    ),
    "nemotron": lambda size: NemotronConfig(**size.usual),
    "nemotron-biases-full-rotary": lambda size: NemotronConfig(
        **size.usual, attention_bias=True, mlp_bias=True, **_rope(1.0)
    ),
    "seed_oss": lambda size: SeedOssConfig(**size.usual, head_dim=size.head_dim),
    "seed_oss-output-biases-tied": lambda size: SeedOssConfig(
        **size.usual, head_dim=size.head_dim, attention_out_bias=True, mlp_bias=True, tie_word_embeddings=True
    ),
}  # fmt: skip
"""Configs by the architecture, and by what is special about each."""


def _neox(size: Size) -> dict[str, Any]:
    return {
        "vocab_size": 96, "hidden_size": size.d_model, "intermediate_size": size.d_ff, "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }  # fmt: skip


def _by_architecture() -> dict[str, str]:
    found: dict[str, str] = {}
    for name, make in CASES.items():
        found.setdefault(MODEL_ARCH_NAMES[ARCHITECTURES[make(SMALL).model_type]], name)
    return found


FIRST = _by_architecture()
"""The first case of each architecture, by llama.cpp's name."""
