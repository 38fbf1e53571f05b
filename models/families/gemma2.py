"""Gemma 2: Gemma with norms around sublayers, bounded scores and logits, and a window in every other layer."""

from dataclasses import replace
from math import sqrt

from models.families.config import Config
from models.families.family import Family
from models.families.gemma import NORMS, complete
from models.families.gemma import multipliers as gemma_multipliers
from models.families.llama import PARTS, decoder_of, layer_of
from models.families.reach import reaches_of
from models.families.views import LessOne, Part, Stored, stored_parts
from models.spec import Around, Cap, DecoderSpec, NoCap, SoftCap

AROUND: dict[str, Part] = {
    "attn.after": ("post_attention_layernorm", LessOne()),
    "ffn.norm": ("pre_feedforward_layernorm", LessOne()),
    "ffn.after": ("post_feedforward_layernorm", LessOne()),
}


def cap_of(config: Config, key: str, default: float) -> Cap:
    """A bound that the config states, or leaves out by null; `default` where it says nothing, 0 being none."""
    stated = config.keys.get(key, default or None)
    return NoCap() if stated is None else SoftCap(config.number(key, default))


def spec_of(config: Config) -> DecoderSpec:
    config = complete(config)
    n_layers = config.count("num_hidden_layers")
    every_other = ["sliding_attention" if layer % 2 == 0 else "full_attention" for layer in range(n_layers)]
    keys = {"layer_types": every_other, "sliding_window": 4096} | config.keys | {"use_sliding_window": True}
    layer = replace(layer_of(config), placement=Around(), score_cap=cap_of(config, "attn_logit_softcapping", 50.0))
    reaches = reaches_of(Config(config.path, keys))
    decoder = decoder_of(config, [replace(layer, reach=reach) for reach in reaches], tied=True)
    return replace(decoder, logit_cap=cap_of(config, "final_logit_softcapping", 30.0))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    return stored_parts(spec, {**PARTS, **NORMS, **AROUND}, norm=("norm", LessOne()))


def multipliers(config: Config) -> dict[str, float]:
    """Gemma's, and scores that are scaled by a number of their own instead of the head size."""
    config = complete(config)
    own = sqrt(config.count("head_dim") / config.number("query_pre_attn_scalar", 256.0))
    return gemma_multipliers(config) | {"attn.query": own}


FAMILY = Family(spec_of, weights_of, multipliers=multipliers)
