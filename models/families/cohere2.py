"""Cohere 2 (Command R7B, Command A): one LayerNorm without a bias before both sublayers, which are parallel.

Sliding layers rotate neighboring features; full layers have no positions.
"""

from models.families.attention_windows import every_nth, window_of, windows_of
from models.families.config import Config
from models.families.family import Family
from models.families.llama import COMMON, PARTS, attention_of, decoder_of, head_dim_of, with_attention
from models.families.rope import rotary_of
from models.families.views import Stored, interleaved, stored_parts
from models.spec import DecoderSpec, Full, Gated, LayerNorm, LayerSpec, NoPosition, Parallel


def decoder(config: Config) -> DecoderSpec:
    rotary = rotary_of(config, head_dim_of(config))
    layer = LayerSpec(
        mixer=attention_of(config, rotary, config.flag("attention_bias")),
        ffn=Gated(config.activation("hidden_act"), config.count("intermediate_size"), bias=False),
        norm=LayerNorm(config.number("layer_norm_eps"), bias=False),
        residual=Parallel(),
    )
    windows = windows_of(config, window_of(config), every_nth(config))
    return decoder_of(
        config,
        [with_attention(layer, window=one, position=NoPosition() if one == Full() else rotary) for one in windows],
    )


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    return stored_parts(spec, {**PARTS, "ffn.norm": "input_layernorm", **interleaved(spec)})


def folded(config: Config) -> dict[str, float]:
    """The multiplier of logits, which applies to the norm before the head."""
    return {"head.norm": config.number("logit_scale")}


DEFAULTS = {
    **COMMON,
    "vocab_size": 256_000,
    "hidden_size": 8192,
    "intermediate_size": 22528,
    "num_hidden_layers": 40,
    "num_attention_heads": 64,
    "max_position_embeddings": 8192,
    "logit_scale": 0.0625,
    "layer_norm_eps": 1e-5,
    "attention_bias": False,
    "sliding_window": 4096,
    "sliding_window_pattern": 4,
    "layer_types": None,
    "tie_word_embeddings": True,
}

NULLABLE = frozenset({"sliding_window", "sliding_window_pattern"})

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS, nullable=NULLABLE, folded=folded)
