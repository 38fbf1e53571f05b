"""Rotary positions of both generations of `config.json`, with every scaling that transformers writes."""

import math

from models.errors import SpecError
from models.families.config import Config
from models.spec import (
    LinearScaling,
    ListedScaling,
    Llama3Scaling,
    NoScaling,
    Rotary,
    Scaling,
    YarnScaling,
)


def rotary_of(
    config: Config, head_dim: int, *, base_key: str = "rope_theta", share_key: str = "", share: float = 1.0
) -> Rotary:
    """Reads `rope_parameters` (transformers 5) or the older flat keys beside `rope_scaling`.

    `share_key` names the older key for the share of each head that turns, `share` its default.
    """
    parameters = config.table("rope_parameters")
    scaling = parameters if parameters.keys else config.table("rope_scaling")
    share = config.number(share_key, share) if share_key else share
    base = parameters.number("rope_theta", config.number(base_key, 10_000.0))
    share = parameters.number("partial_rotary_factor", share)
    return Rotary(base=base, features=int(head_dim * share), scaling=_scaling_of(config, scaling))


def _scaling_of(config: Config, table: Config) -> Scaling:
    kind = table.keys.get("rope_type") or table.keys.get("type") or "default"
    match kind:
        case "default" | "dynamic":  # a dynamic base changes beyond the context only, where Edge does not go
            return NoScaling()
        case "linear":
            return LinearScaling(table.number("factor"))
        case "llama3":
            return Llama3Scaling(
                factor=table.number("factor"),
                low=table.number("low_freq_factor"),
                high=table.number("high_freq_factor"),
                original=table.count("original_max_position_embeddings"),
            )
        case "yarn":
            return _yarn_of(config, table)
        case "longrope" | "su":
            return _longrope_of(config, table)
    raise SpecError(f"{config.path} asks for rope scaling '{kind}', which Edge does not run")


def _yarn_of(config: Config, table: Config) -> YarnScaling:
    original, context = table.count("original_max_position_embeddings"), config.count("max_position_embeddings")
    factor = table.number("factor", context / original)
    over, under = (table.keys.get(key) for key in ("mscale", "mscale_all_dim"))
    sharper = _sharper(factor, over) / _sharper(factor, under) if over and under else _sharper(factor, 1.0)
    return YarnScaling(
        factor=factor,
        original=original,
        fast=table.number("beta_fast", 32.0),
        slow=table.number("beta_slow", 1.0),
        amplitude=table.number("attention_factor", sharper),
        whole=table.flag("truncate", True),
    )


def _sharper(factor: float, share: float) -> float:
    """YaRN's amplitude for a context that many times as long."""
    return 0.1 * share * math.log(factor) + 1.0 if factor > 1 else 1.0


def _longrope_of(config: Config, table: Config) -> ListedScaling:
    """The factors for texts within the original context, which is all that `context_of` allows."""
    original, context = original_context(config), config.count("max_position_embeddings")
    factor = table.number("factor", context / original)
    sharper = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    return ListedScaling(table.numbers("short_factor"), table.number("attention_factor", sharper))


def original_context(config: Config) -> int:
    """Tokens of context before a scaling, wherever the config says so."""
    for table in (config.table("rope_parameters"), config.table("rope_scaling"), config):
        if "original_max_position_embeddings" in table.keys:
            return table.count("original_max_position_embeddings")
    return config.count("max_position_embeddings")


def context_of(config: Config) -> int:
    """Tokens that a rotary decoder may read.

    With LongRoPE every angle changes, also those of earlier tokens, as soon as a text is longer than the original
    context; keys that are already in a cache would be wrong, so Edge stays within it.
    """
    context = config.count("max_position_embeddings", 2048)
    scaled = any(
        table.keys.get(key) in ("longrope", "su")
        for table in (config.table("rope_parameters"), config.table("rope_scaling"))
        for key in ("rope_type", "type")
    )
    return min(context, original_context(config)) if scaled else context
