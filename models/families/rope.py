"""Rotary positions from old and new keys of `config.json`, with all scalings of transformers."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from models.errors import SpecError
from models.families.config import LARGEST, Config
from models.spec import (
    LinearScaling,
    ListedScaling,
    Llama3Scaling,
    NoScaling,
    Rotary,
    Scaling,
    YarnScaling,
)

ROPE: Mapping[str, Any] = {
    "rope_parameters": None,
    "rope_scaling": None,
    "rope_theta": 10_000.0,
    "partial_rotary_factor": None,
    "original_max_position_embeddings": None,
}
"""Keys of rotary positions in all families except Gemma 3, with their defaults."""

OLDER_KEYS = frozenset({"rope_theta", "rope_local_base_freq", "rotary_emb_base", "rotary_pct", "partial_rotary_factor"})
"""Older keys, which are read if the table of rotary positions has no value; only then is null refused."""


def rotary_of(
    config: Config,
    head_dim: int,
    *,
    base_key: str = "rope_theta",
    share_key: str = "partial_rotary_factor",
    partial: bool = False,
) -> Rotary:
    """The rotary positions of a complete config; `partial` families rotate a share of the features of each head."""
    table = _table_of(config)
    base = table.number("rope_theta") if "rope_theta" in table.keys else config.number(base_key)
    share = table.number("partial_rotary_factor") if "partial_rotary_factor" in table.keys else None
    if share is None:
        share = config.number(share_key) if partial else config.number_or_none(share_key) or 1.0
    return scaled(config, table, head_dim, base, share, partial=partial, original=_original(config, table))


def scaled(
    config: Config, table: Config, head_dim: int, base: float, share: float, *, partial: bool, original: int
) -> Rotary:
    """Rotary positions with this base and the scaling of one table; `original` is the context before that scaling.

    In families that rotate all features of a head, transformers ignores a share without a scaling, and fails on one
    with a scaling.
    """
    scaling = _scaling_of(config, table, original)
    if isinstance(scaling, YarnScaling) and base == 1.0:
        raise SpecError(f"{config.path}: 'rope_theta' is 1; YaRN requires another value")
    if not partial and share != 1.0 and kind_of(table) != "default":
        raise SpecError(
            f"{config.path}: 'partial_rotary_factor' is {share}, but this family rotates all features of a head"
        )
    features = head_dim * share if partial else head_dim
    if not 0 < features <= head_dim:
        raise SpecError(f"{config.path}: 'partial_rotary_factor' is {share}; it must be above 0 and at most 1")
    return Rotary(base=base, features=int(features), scaling=scaling)


def rope_key(config: Config) -> str:
    """The key of the table: `rope_scaling`, which users add by hand, if the config has it; else `rope_parameters`."""
    return "rope_scaling" if config.table("rope_scaling").keys else "rope_parameters"


def _table_of(config: Config) -> Config:
    table = config.table(rope_key(config))
    if any(isinstance(value, dict) for value in table.keys.values()):
        raise SpecError(
            f"{config.path}: '{rope_key(config)}' has one table per kind of layer; this family has one kind only"
        )
    return table


def _original(config: Config, table: Config) -> int:
    """Tokens of context before a scaling: from the config, from the table, or `max_position_embeddings`."""
    original = config.count_or_none("original_max_position_embeddings")
    return original_in(config, table) if original is None else original


def original_in(config: Config, table: Config) -> int:
    """Tokens of context before a scaling: from its table, or `max_position_embeddings`."""
    stated = table if "original_max_position_embeddings" in table.keys else config
    return stated.count("original_max_position_embeddings" if stated is table else "max_position_embeddings")


def kind_of(table: Config) -> str:
    """The name of a scaling; the older key is `type`."""
    kind = table.keys.get("rope_type", table.keys.get("type", "default"))
    if not isinstance(kind, str):
        raise table.refusal("rope_type" if "rope_type" in table.keys else "type", "the name of a scaling")
    return {"su": "longrope"}.get(kind, kind)


def _scaling_of(config: Config, table: Config, original: int) -> Scaling:
    match kind_of(table):
        case "default":
            return NoScaling()
        case "dynamic":  # a dynamic base changes only for texts longer than the context, which Edge refuses
            table.number("factor")
            return NoScaling()
        case "linear":
            return LinearScaling(table.number("factor"))
        case "llama3":
            low, high = table.number("low_freq_factor"), table.number("high_freq_factor")
            if high <= low:
                raise table.refusal("high_freq_factor", f"above 'low_freq_factor', which is {low}")
            return Llama3Scaling(factor=table.number("factor"), low=low, high=high, original=original)
        case "yarn":
            return _yarn_of(config, table, original)
        case "longrope":
            return _longrope_of(config, table, original)
    raise SpecError(f"{config.path} has rope scaling {kind_of(table)!r}, which Edge does not support")


def _yarn_of(config: Config, table: Config, original: int) -> YarnScaling:
    table.stated("factor")
    factor = _factor(config, table, original)
    over, under = (_number_or(table, key, 0.0, zero=True) for key in ("mscale", "mscale_all_dim"))
    sharper = _sharper(factor, over) / _sharper(factor, under) if over and under else _sharper(factor, 1.0)
    return YarnScaling(
        factor=factor,
        original=original,
        fast=_number_or(table, "beta_fast", 32.0, zero=True),
        slow=_number_or(table, "beta_slow", 1.0, zero=True),
        amplitude=_number_or(table, "attention_factor", sharper),
        whole=table.flag("truncate") if "truncate" in table.keys else True,
    )


def _factor(config: Config, table: Config, original: int) -> float:
    """The ratio of the context to the original context: `factor`, or computed from both."""
    return _number_or(table, "factor", config.count("max_position_embeddings") / original)


def _number_or(table: Config, key: str, default: float, *, zero: bool = False) -> float:
    """A number of a table; the default if it is missing or null, and with `zero` also if it is 0."""
    value = table.keys.get(key)
    return default if value is None or (zero and value == 0) else table.number(key)


def _sharper(factor: float, share: float) -> float:
    """YaRN's amplitude for a context that is `factor` times as long."""
    return 0.1 * share * math.log(factor) + 1.0 if factor > 1 else 1.0


def _longrope_of(config: Config, table: Config, original: int) -> ListedScaling:
    """The factors for texts within the original context; `context_of` allows no longer ones."""
    if original < 2:
        raise table.refusal("original_max_position_embeddings", "a whole number of at least 2")
    factor = _factor(config, table, original)
    sharper = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    amplitude = _number_or(table, "attention_factor", sharper)
    return ListedScaling(table.numbers("short_factor"), amplitude, within=original)


def context_of(config: Config, scalings: Iterable[Scaling]) -> int:
    """The context in tokens of a decoder with these scalings.

    With YaRN it is the original context times the factor, even if the config states the original one. With LongRoPE it
    is the original context: in a longer text all angles change, those of earlier tokens too, and the keys in a cache
    would be wrong.
    """
    context = config.count("max_position_embeddings")
    for scaling in scalings:
        match scaling:
            case YarnScaling(factor, original):
                context = max(context, int(min(original * factor, LARGEST)))
            case ListedScaling(within=int(original)):
                context = min(context, original)
    return context
