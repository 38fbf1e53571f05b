"""Rotary positions of both generations of `config.json`, with every scaling that transformers writes."""

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
"""Keys that say how heads turn, in any family but Gemma 3, and what leaving them out means."""

BESIDE = frozenset({"rope_theta", "rope_local_base_freq", "rotary_emb_base", "rotary_pct", "partial_rotary_factor"})
"""Older keys, which count where a table says nothing: null is refused there alone."""


def rotary_of(
    config: Config,
    head_dim: int,
    *,
    base_key: str = "rope_theta",
    share_key: str = "partial_rotary_factor",
    partial: bool = False,
) -> Rotary:
    """The rotary positions of a complete config; `partial` families turn a share of each head."""
    table = _table_of(config)
    base = table.number("rope_theta") if "rope_theta" in table.keys else config.number(base_key)
    share = table.number("partial_rotary_factor") if "partial_rotary_factor" in table.keys else None
    if share is None:
        share = config.number(share_key) if partial else config.number_or_none(share_key) or 1.0
    return scaled(config, table, head_dim, base, share, partial=partial, original=_original(config, table))


def scaled(
    config: Config, table: Config, head_dim: int, base: float, share: float, *, partial: bool, original: int
) -> Rotary:
    """A rotary base with the scaling of one table; `original` is the context before that scaling.

    Where heads turn as a whole, transformers passes over a share as long as there is no scaling, and fails on one
    beside a scaling.
    """
    scaling = _scaling_of(config, table, original)
    if isinstance(scaling, YarnScaling) and base == 1.0:
        raise SpecError(f"{config.path}: YaRN needs a 'rope_theta' other than 1")
    if not partial and share != 1.0 and kind_of(table) != "default":
        raise SpecError(f"{config.path}: 'partial_rotary_factor' is {share}, but this family turns whole heads")
    features = head_dim * share if partial else head_dim
    if not 0 < features <= head_dim:
        raise SpecError(f"{config.path}: 'partial_rotary_factor' is {share}; it must be above 0 and at most 1")
    return Rotary(base=base, features=int(features), scaling=scaling)


def rope_key(config: Config) -> str:
    """`rope_scaling`, which people add by hand, counts alone where it is there; else `rope_parameters`."""
    return "rope_scaling" if config.table("rope_scaling").keys else "rope_parameters"


def _table_of(config: Config) -> Config:
    table = config.table(rope_key(config))
    if any(isinstance(value, dict) for value in table.keys.values()):
        raise SpecError(f"{config.path}: '{rope_key(config)}' has a table per kind of layer; this family has one kind")
    return table


def _original(config: Config, table: Config) -> int:
    """Tokens of context before a scaling: beside the table, in it, or the context that is stated."""
    beside = config.count_or_none("original_max_position_embeddings")
    if beside is not None:
        return beside
    return original_in(config, table)


def original_in(config: Config, table: Config) -> int:
    """Tokens of context before a scaling: in its table, or the context that is stated."""
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
        case "dynamic":  # a dynamic base changes beyond the context only, where Edge does not go
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
    raise SpecError(f"{config.path} asks for rope scaling {kind_of(table)!r}, which Edge does not run")


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
    """How many times as long as the original the context is: stated, or by what the config says of both."""
    return _number_or(table, "factor", config.count("max_position_embeddings") / original)


def _number_or(table: Config, key: str, default: float, *, zero: bool = False) -> float:
    """A number of a table; the default where it is left out or null, and with `zero` also where it is 0."""
    value = table.keys.get(key)
    return default if value is None or (zero and value == 0) else table.number(key)


def _sharper(factor: float, share: float) -> float:
    """YaRN's amplitude for a context that many times as long."""
    return 0.1 * share * math.log(factor) + 1.0 if factor > 1 else 1.0


def _longrope_of(config: Config, table: Config, original: int) -> ListedScaling:
    """The factors for texts within the original context, which is all that `context_of` allows."""
    if original < 2:
        raise table.refusal("original_max_position_embeddings", "a whole number of at least 2")
    factor = _factor(config, table, original)
    sharper = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    amplitude = _number_or(table, "attention_factor", sharper)
    return ListedScaling(table.numbers("short_factor"), amplitude, within=original)


def context_of(config: Config, scalings: Iterable[Scaling]) -> int:
    """Tokens that a decoder with these scalings may read.

    With YaRN, the original context times the factor, also where the config states the original one. With LongRoPE
    every angle changes, also those of earlier tokens, as soon as a text is longer than the original context; keys that
    are already in a cache would be wrong, so Edge stays within it.
    """
    context = config.count("max_position_embeddings")
    for scaling in scalings:
        match scaling:
            case YarnScaling(factor, original):
                context = max(context, int(min(original * factor, LARGEST)))
            case ListedScaling(within=int(original)):
                context = min(context, original)
    return context
