"""OLMo 3: OLMo 2 with windows in three of four layers, and a scaling of rotary positions in full layers only."""

from dataclasses import replace

from models.families.attention_windows import FULL, SLIDING, window_of, windows_of
from models.families.config import Config
from models.families.family import Family
from models.families.llama import COMMON, decoder_of, layer_of, layers_of, norm_of, with_attention
from models.families.olmo2 import weights_of
from models.families.rope_by_kind import rotary_of_kind
from models.spec import After, DecoderSpec, Full, JointNorm

_BASE = 500_000.0


def decoder(config: Config) -> DecoderSpec:
    """The decoder. The flat key `rope_theta` applies to full layers; sliding layers have the default or a table."""
    near_config = Config(config.path, {**config.keys, "rope_theta": _BASE})
    far, near = (rotary_of_kind(one, kind, "rope_theta") for one, kind in ((config, FULL), (near_config, SLIDING)))
    plain = layer_of(config, far, bias=config.flag("attention_bias"))
    layer = replace(with_attention(plain, head_norm=JointNorm(norm_of(config))), placement=After())
    unstated = [SLIDING if (index + 1) % 4 else FULL for index in range(layers_of(config))]
    windows = windows_of(config, window_of(config), unstated)
    return decoder_of(
        config, [with_attention(layer, window=one, position=far if one == Full() else near) for one in windows]
    )


_NOT_HERE = {"partial_rotary_factor", "original_max_position_embeddings"}
"""Keys that this family has only in its tables."""

DEFAULTS = {
    **{key: value for key, value in COMMON.items() if key not in _NOT_HERE},
    "vocab_size": 50304,
    "rms_norm_eps": 1e-5,
    "rope_theta": _BASE,
    "attention_bias": False,
    "sliding_window": 4096,
    "layer_types": None,
}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS, nullable=frozenset({"sliding_window"}))
