"""Gemma 3, text: Gemma 2 with norms of queries and keys instead of soft caps, and one rotary base per kind of layer."""

from dataclasses import replace

from models.families import gemma2
from models.families.attention_windows import FULL, SLIDING, window_of, windows_of
from models.families.config import Config
from models.families.family import Family
from models.families.gemma import NORMS
from models.families.gemma2 import AROUND, cap_of
from models.families.llama import PARTS, decoder_of, layer_of, layers_of, norm_of, with_attention
from models.families.rope import original_in, scaled
from models.families.views import LessOne, Part, Stored, stored_parts
from models.spec import Around, DecoderSpec, Full, HeadNorm, Rotary

_NORMS: dict[str, Part] = {
    "attn.query_norm": ("self_attn.q_norm", LessOne()),
    "attn.key_norm": ("self_attn.k_norm", LessOne()),
}

_BY_KIND = {FULL: "rope_theta", SLIDING: "rope_local_base_freq"}
"""The older key for the rotary base of each kind of layer."""


def decoder(config: Config) -> DecoderSpec:
    far, near = _rotary_of(config, FULL), _rotary_of(config, SLIDING)
    layer = replace(
        with_attention(
            layer_of(config, far, bias=config.flag("attention_bias"), activation="hidden_activation"),
            head_norm=HeadNorm(norm_of(config)),
        ),
        placement=Around(),
    )
    windows = windows_of(config, window_of(config), _every_sixth(config))
    layers = [with_attention(layer, window=window, position=far if window == Full() else near) for window in windows]
    return replace(decoder_of(config, layers), logit_cap=cap_of(config, "final_logit_softcapping"))


def _every_sixth(config: Config) -> list[str]:
    """The default kinds of layers: every `sliding_window_pattern`-th layer is full, the others are sliding."""
    if config.stated("layer_types") is not None:
        return []
    pattern = config.count("sliding_window_pattern")
    return [SLIDING if (layer + 1) % pattern else FULL for layer in range(layers_of(config))]


def _rotary_of(config: Config, kind: str) -> Rotary:
    """The rotary positions of one kind of layer, from its table in `rope_parameters` and the older flat keys.

    `rope_scaling` applies to full layers. In it, `rope_type` names the scaling; the older key `type` is not read.
    """
    both = config.table("rope_parameters")
    stated = dict(both.table(kind).keys)
    if kind == FULL and (scaling := config.table("rope_scaling").keys):
        stated = ({} if both.keys else {"rope_type": "default"}) | stated | dict(scaling)
    table = Config(config.path, stated | _truncate(both))
    base = table.number("rope_theta") if "rope_theta" in stated else config.number(_BY_KIND[kind])
    share = table.number("partial_rotary_factor") if "partial_rotary_factor" in stated else 1.0
    original, head_dim = original_in(config, table), config.count("head_dim")
    return scaled(config, table, head_dim, base, share, partial=False, original=original)


def _truncate(both: Config) -> dict[str, object]:
    """The key `truncate` of YaRN, which transformers reads from the outer table of `rope_parameters`."""
    return {"truncate": both.keys.get("truncate", True)}


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    return stored_parts(spec, {**PARTS, **NORMS, **AROUND, **_NORMS}, norm=("norm", LessOne()))


def folded(config: Config) -> dict[str, float]:
    """The multipliers of Gemma 2. The one for queries moves to their norm, which follows their projection."""
    found = gemma2.folded(config)
    return found | {"attn.query_norm": found["attn.query"], "attn.query": 1.0}


_NOT_HERE = {"partial_rotary_factor", "original_max_position_embeddings", "attn_logit_softcapping"}
"""Keys of Gemma 2 that this family has only in its tables; transformers does not use the last one."""

DEFAULTS = {
    **{key: value for key, value in gemma2.DEFAULTS.items() if key not in _NOT_HERE},
    "vocab_size": 262_208,
    "max_position_embeddings": 131_072,
    "rope_theta": 1_000_000.0,
    "rope_local_base_freq": 10_000.0,
    "sliding_window_pattern": 6,
    "final_logit_softcapping": None,
}

NULLABLE = gemma2.NULLABLE | {"sliding_window_pattern"}

FAMILY = Family(
    decoder=decoder,
    weights_of=weights_of,
    defaults=DEFAULTS,
    nullable=NULLABLE,
    folded=folded,
    harmless=frozenset({"hidden_act", "attn_logit_softcapping"}),
)
