"""Ministral 3: Mistral with YaRN, and queries that grow with the logarithm of their position."""

from models.families.attention_windows import window_of
from models.families.config import Config
from models.families.family import Family
from models.families.llama import COMMON, decoder_of, layer_of, layers_of, weights_of, with_attention
from models.families.rope import kind_of, rope_key
from models.spec import DecoderSpec, LogScale, QueryScale, SameScale

_UNSTATED = {
    "rope_type": "yarn",
    "rope_theta": 1_000_000.0,
    "factor": 16.0,
    "original_max_position_embeddings": 16384,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.1,
}
"""The table of rotary positions of a config without one."""


def decoder(config: Config) -> DecoderSpec:
    if not config.table(rope_key(config)).keys and config.stated("rope_parameters") is None:
        config = Config(config.path, {**config.keys, "rope_parameters": _UNSTATED})
    layer = with_attention(layer_of(config), window=window_of(config), query_scale=_query_scale_of(config))
    return decoder_of(config, [layer] * layers_of(config))


def _query_scale_of(config: Config) -> QueryScale:
    """The scale of queries, by the context before scaling; YaRN and others have `max_position_embeddings` by default.

    The table of rotary positions must have the strength; 0 means no scale.
    """
    table, key = config.table(rope_key(config)), "original_max_position_embeddings"
    beta = table.stated("llama_4_scaling_beta")
    if key in config.keys and config.keys[key] is not None and kind_of(table) in ("yarn", "llama3", "longrope"):
        original = config.count(key)
    elif key in table.keys or kind_of(table) not in ("yarn", "llama3", "longrope"):
        original = table.count(key)
    else:
        original = config.count("max_position_embeddings")
    return SameScale() if beta == 0 else LogScale(table.number("llama_4_scaling_beta"), original)


DEFAULTS = {
    **COMMON,
    "vocab_size": 131_072,
    "intermediate_size": 14336,
    "num_hidden_layers": 34,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 262_144,
    "rms_norm_eps": 1e-5,
    "sliding_window": None,
}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS)
