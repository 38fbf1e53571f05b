"""Gemma 3, text: Gemma 2 with normed queries and keys instead of bounds, and a rotary base for each kind of layer."""

from dataclasses import replace

from models.families.config import Config
from models.families.family import Family
from models.families.gemma import NORMS, complete
from models.families.gemma2 import AROUND, cap_of
from models.families.gemma2 import multipliers as gemma2_multipliers
from models.families.llama import PARTS, decoder_of, layer_of, norm_of
from models.families.reach import reaches_of
from models.families.rope import rotary_of
from models.families.views import LessOne, Part, Stored, stored_parts
from models.spec import Around, DecoderSpec, Full, HeadNorm, Rotary

_NORMS: dict[str, Part] = {
    "attn.query_norm": ("self_attn.q_norm", LessOne()),
    "attn.key_norm": ("self_attn.k_norm", LessOne()),
}

_FAR_BASE, _NEAR_BASE = 1_000_000.0, 10_000.0
"""Rotary bases of layers that see all and of those with a window, where a config states none."""


def spec_of(config: Config) -> DecoderSpec:
    config = complete(config)
    n_layers, pattern = config.count("num_hidden_layers"), config.count("sliding_window_pattern", 6)
    every_sixth = ["full_attention" if (layer + 1) % pattern == 0 else "sliding_attention" for layer in range(n_layers)]
    keys = {"layer_types": every_sixth, "sliding_window": 4096} | config.keys | {"use_sliding_window": True}
    far, near = _rotaries_of(config)
    plain = Config(config.path, {key: value for key, value in config.keys.items() if not key.startswith("rope_")})
    layer = replace(
        layer_of(plain),
        placement=Around(),
        head_norm=HeadNorm(norm_of(config)),
        score_cap=cap_of(config, "attn_logit_softcapping", 0.0),
    )
    reaches = reaches_of(Config(config.path, keys))
    layers = [replace(layer, reach=reach, position=far if reach == Full() else near) for reach in reaches]
    return replace(decoder_of(plain, layers, tied=True), logit_cap=cap_of(config, "final_logit_softcapping", 0.0))


def _rotaries_of(config: Config) -> tuple[Rotary, Rotary]:
    """Of layers that see all, and of those with a window: a table for each kind, or older flat keys."""
    both, head_dim = config.table("rope_parameters"), config.count("head_dim")
    far, near = both.keys.get("full_attention"), both.keys.get("sliding_attention")
    if far is None or near is None:
        far = {"rope_theta": config.number("rope_theta", _FAR_BASE)} | (config.keys.get("rope_scaling") or {})
        near = {"rope_theta": config.number("rope_local_base_freq", _NEAR_BASE)}
    context = {"max_position_embeddings": config.count("max_position_embeddings")}
    tables = ({"rope_parameters": table} | context for table in (far, near))
    first, second = (rotary_of(Config(config.path, table), head_dim) for table in tables)
    return first, second


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    return stored_parts(spec, {**PARTS, **NORMS, **AROUND, **_NORMS}, norm=("norm", LessOne()))


def multipliers(config: Config) -> dict[str, float]:
    """Gemma 2's; queries are normed after their projection, so that their scale is the norm's."""
    found = gemma2_multipliers(config)
    return found | {"attn.query_norm": found["attn.query"], "attn.query": 1.0}


FAMILY = Family(spec_of, weights_of, multipliers=multipliers)
