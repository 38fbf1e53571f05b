"""Gemma 3, text: Gemma 2 with norms of queries and keys instead of soft caps, and one rotary base per kind of layer."""

from dataclasses import replace

from models.families import gemma2
from models.families.attention_windows import FULL, SLIDING, every_nth, window_of, windows_of
from models.families.config import Config
from models.families.family import Family
from models.families.gemma import NORMS
from models.families.gemma2 import AROUND, cap_of
from models.families.llama import PARTS, decoder_of, layer_of, norm_of, with_attention
from models.families.rope_by_kind import rotary_of_kind
from models.families.views import LessOne, Part, Stored, stored_parts
from models.spec import Around, DecoderSpec, Full, HeadNorm

_NORMS: dict[str, Part] = {
    "attn.query_norm": ("self_attn.q_norm", LessOne()),
    "attn.key_norm": ("self_attn.k_norm", LessOne()),
}


def decoder(config: Config) -> DecoderSpec:
    far = rotary_of_kind(config, FULL, "rope_theta")
    near = rotary_of_kind(config, SLIDING, "rope_local_base_freq")
    layer = replace(
        with_attention(
            layer_of(config, far, bias=config.flag("attention_bias"), activation="hidden_activation"),
            head_norm=HeadNorm(norm_of(config)),
        ),
        placement=Around(),
    )
    windows = windows_of(config, window_of(config), every_nth(config))
    layers = [with_attention(layer, window=window, position=far if window == Full() else near) for window in windows]
    return replace(decoder_of(config, layers), logit_cap=cap_of(config, "final_logit_softcapping"))


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
