"""Parts of decoders that Edge lacks, by the model types and the config keys that require them."""

from collections.abc import Iterator, Mapping

from models.families.config import Config
from models.families.switches import ALIBI

STATES = "recurrent states instead of attention"
STATE_SPACE = "state-space layers (Mamba)"
DELTA = "linear attention (gated delta nets)"
LIGHTNING = "linear attention"
CONVOLUTION = "short convolutions"
LATENT = "latent attention (MLA)"
PER_LAYER = "per-layer embeddings"
SHARED = "keys and values shared between layers"
ENCODER = "an encoder and cross-attention"
LATER = "attention to later tokens"

_TYPES: Mapping[str, tuple[str, ...]] = {
    ALIBI: ("bloom", "mpt"),
    STATES: ("rwkv", "rwkv5", "rwkv6", "rwkv7", "xlstm", "recurrent_gemma"),
    STATE_SPACE: (
        "mamba", "mamba2", "falcon_mamba", "falcon_h1", "granitemoehybrid", "nemotron_h", "jamba", "zamba", "zamba2",
        "bamba", "plamo2",
    ),
    DELTA: (
        "qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text", "qwen4_exp", "qwen4_exp_text",
        "olmo_hybrid", "kimi_linear",
    ),
    LIGHTNING: ("minimax", "minimax_text_01", "bailing_hybrid"),
    CONVOLUTION: ("lfm2", "lfm2_moe", "lfm2_vl", "lfm3", "lfm3_vl"),
    LATENT: (
        "deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v4", "kimi_k2", "kimi_k25", "minicpm3",
        "glm4_moe_lite", "glm_moe_dsa", "longcat_flash", "mistral4", "youtu",
    ),
    PER_LAYER: ("gemma3n", "gemma3n_text", "gemma4", "gemma4_text"),
    SHARED: ("gemma4_unified", "gemma4_unified_text"),
    "scores without a scale": ("gpt_neo",),
    ENCODER: ("t5", "bart"),
    LATER: ("bert", "roberta"),
}  # fmt: skip
"""Well-known model types that require each part."""

_KEYS = {
    "kv_lora_rank": LATENT,
    "linear_num_value_heads": DELTA,
    "mamba_d_state": STATE_SPACE,
    "mamba_num_heads": STATE_SPACE,
    "ssm_state_size": STATE_SPACE,
    "conv_L_cache": CONVOLUTION,
    "hidden_size_per_layer_input": PER_LAYER,
    "num_kv_shared_layers": SHARED,
}
"""Keys that require a part in the config of a model type that Edge does not know."""


def _parts() -> Iterator[tuple[str, str]]:
    for part, names in _TYPES.items():
        for name in names:
            yield name, part


PARTS = dict(_parts())


def lacking_part(config: Config, name: str) -> str | None:
    """The part that a model type outside the families requires; None if it is not known."""
    if name in PARTS:
        return PARTS[name]
    inside = config.keys.get("text_config")
    for keys in (config.keys, inside if isinstance(inside, dict) else {}):
        for key, part in _KEYS.items():
            if keys.get(key):
                return part
    return None
