"""Gemma 2: Gemma with norms around sublayers, soft-capped scores and logits, and a window in every other layer."""

from dataclasses import replace
from math import sqrt

from models.families import gemma
from models.families.attention_windows import FULL, SLIDING, window_of, windows_of
from models.families.config import Config
from models.families.family import Family
from models.families.gemma import NORMS
from models.families.llama import PARTS, decoder_of, layer_of, layers_of, with_attention
from models.families.views import LessOne, Part, Stored, stored_parts
from models.spec import Around, Cap, DecoderSpec, NoCap, SoftCap

AROUND: dict[str, Part] = {
    "attn.after": ("post_attention_layernorm", LessOne()),
    "ffn.norm": ("pre_feedforward_layernorm", LessOne()),
    "ffn.after": ("post_feedforward_layernorm", LessOne()),
}

DEFAULTS = {
    **{key: value for key, value in gemma.DEFAULTS.items() if key != "hidden_act"},
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "layer_types": None,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
}

NULLABLE = frozenset({"sliding_window", "attn_logit_softcapping", "final_logit_softcapping"})


def cap_of(config: Config, key: str) -> Cap:
    """The soft cap in a config; null means no cap."""
    limit = config.number_or_none(key)
    return NoCap() if limit is None else SoftCap(limit)


def decoder(config: Config) -> DecoderSpec:
    every_other = [FULL if layer % 2 else SLIDING for layer in range(layers_of(config))]
    plain = layer_of(config, bias=config.flag("attention_bias"), activation="hidden_activation")
    layer = replace(with_attention(plain, score_cap=cap_of(config, "attn_logit_softcapping")), placement=Around())
    windows = windows_of(config, window_of(config), every_other)
    layers = [with_attention(layer, window=window) for window in windows]
    return replace(decoder_of(config, layers), logit_cap=cap_of(config, "final_logit_softcapping"))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    return stored_parts(spec, {**PARTS, **NORMS, **AROUND}, norm=("norm", LessOne()))


def folded(config: Config) -> dict[str, float]:
    """The multipliers of Gemma, and one for scores, which `query_pre_attn_scalar` scales instead of the head size."""
    own = sqrt(config.count("head_dim") / config.number("query_pre_attn_scalar"))
    return gemma.folded(config) | {"attn.query": own}


FAMILY = Family(
    decoder=decoder,
    weights_of=weights_of,
    defaults=DEFAULTS,
    nullable=NULLABLE,
    folded=folded,
    harmless=frozenset({"hidden_act"}),
)
