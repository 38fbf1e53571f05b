"""EXAONE 4: norms after sublayers, norms of queries and keys; full layers beside sliding ones have no positions."""

from dataclasses import replace

from models.families.attention_windows import every_nth, window_of, windows_of
from models.families.config import Config
from models.families.family import Family
from models.families.llama import COMMON, decoder_of, layer_of, norm_of, with_attention
from models.families.olmo2 import weights_of
from models.spec import After, DecoderSpec, Full, HeadNorm, NoPosition


def decoder(config: Config) -> DecoderSpec:
    """The decoder. With `sliding_window` null, all layers are full and rotated."""
    near, plain = window_of(config), layer_of(config)
    layer = replace(with_attention(plain, head_norm=HeadNorm(norm_of(config))), placement=After())
    without_position = with_attention(layer, position=NoPosition())
    if near == Full() and config.stated("layer_types") is None:
        raise config.refusal("layer_types", "stated, since 'sliding_window' is null")
    windows = windows_of(config, near, every_nth(config))
    return decoder_of(
        config,
        [
            without_position if one == Full() and near != Full() else with_attention(layer, window=one)
            for one in windows
        ],
    )


DEFAULTS = {
    **COMMON,
    "vocab_size": 102_400,
    "intermediate_size": 16384,
    "num_key_value_heads": 32,
    "rms_norm_eps": 1e-5,
    "sliding_window": 4096,
    "sliding_window_pattern": 4,
    "layer_types": None,
}

NULLABLE = frozenset({"sliding_window", "sliding_window_pattern"})

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS, nullable=NULLABLE)
