"""The scaling of rotary positions in a GGUF file, as the table that configs of Hugging Face have."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from models.errors import SpecError
from models.sources.gguf.keys import GgufKeys
from models.sources.gguf.sizes import head_dim_of

Table = dict[str, Any]

Factors = Callable[[str], list[float]]
"""Reads a tensor of divisors of rotary angles."""

_DIVISORS = "rope_freqs.weight"
"""Divisors of the angles, as Llama 3.1 scales them. They are listed in a tensor, so the keys do not have them."""

_SHORT, _LONG = "rope_factors_short.weight", "rope_factors_long.weight"

_WITH_DIVISORS = frozenset({"llama", "granite", "granitemoe", "smollm3", "arcee", "exaone4", "mistral3"})
"""Architectures whose files may have `rope_freqs`; in others it is ignored, as in llama.cpp."""


def scaling_of(keys: GgufKeys, factors: Factors) -> Table:
    """The table of the scaling; empty if there is none. A factor without a type is linear, as in llama.cpp."""
    kind = keys.text("rope.scaling.type", "linear")
    if keys.has(_SHORT) and (keys.architecture == "phi3" or kind == "longrope"):
        return _long(keys, factors)
    factor = keys.factor("rope.scaling.factor") or keys.factor("rope.scale_linear") or 1.0
    if keys.has(_DIVISORS) and keys.architecture in _WITH_DIVISORS and kind in ("none", "linear"):
        return _divided(keys, factors, factor if kind == "linear" else 1.0)
    if kind == "none" or (kind == "linear" and factor == 1.0):
        return {}
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        return _yarn(keys)
    needed = "none, linear or yarn, or longrope with tensors of its factors"
    raise keys.refusal("rope.scaling.type", needed)


def original_context_of(keys: GgufKeys) -> int:
    """Tokens of context before the scaling."""
    return keys.whole("rope.scaling.original_context_length", keys.whole("context_length"), least=2)


def _divided(keys: GgufKeys, factors: Factors, factor: float) -> Table:
    """Divisors of each angle, times one of all angles."""
    listed = [one * factor for one in _positive(keys, _DIVISORS, factors)]
    table: Table = {"rope_type": "longrope", "short_factor": listed, "long_factor": listed, "attention_factor": 1.0}
    return table | {"original_max_position_embeddings": keys.whole("context_length")}


def _long(keys: GgufKeys, factors: Factors) -> Table:
    """LongRoPE. The factors for long texts are kept, and not used: Edge allows texts of the original context only."""
    short = _positive(keys, _SHORT, factors)
    long = _positive(keys, _LONG, factors) if keys.has(_LONG) else short
    table: Table = {"rope_type": "longrope", "short_factor": short, "long_factor": long}
    original = original_context_of(keys)
    table["original_max_position_embeddings"] = original
    own = math.sqrt(1 + math.log(max(1.0, keys.whole("context_length") / original)) / math.log(original))
    stated = keys.factor("rope.scaling.attn_factor")
    if stated is not None and np.float32(stated) != np.float32(own):  # else families compute it in full precision
        table["attention_factor"] = stated
    return table


def _yarn(keys: GgufKeys) -> Table:
    factor = keys.number("rope.scaling.factor")
    if keys.has(_DIVISORS) and keys.architecture in _WITH_DIVISORS:
        raise keys.refusal("rope.scaling.type", f"none or linear, since there are divisors ('{_DIVISORS}')")
    if keys.number("rope.freq_base", 10_000.0) == 1.0:
        raise keys.refusal("rope.freq_base", "another number than 1, for YaRN")
    if keys.number("rope.scaling.yarn_ext_factor", 1.0) != 1.0:
        raise keys.refusal("rope.scaling.yarn_ext_factor", "1, since Edge interpolates as YaRN's authors do")
    table: Table = {"rope_type": "yarn", "factor": factor}
    table["original_max_position_embeddings"] = original_context_of(keys)
    for theirs, ours in (("yarn_beta_fast", "beta_fast"), ("yarn_beta_slow", "beta_slow")):
        if f"rope.scaling.{theirs}" in keys:
            table[ours] = keys.number(f"rope.scaling.{theirs}")
    if (share := keys.factor("rope.scaling.yarn_log_multiplier")) is not None:
        table |= {"mscale": 1.0, "mscale_all_dim": share}
    return table | _amplitude(keys, factor, share)


def _amplitude(keys: GgufKeys, factor: float, share: float | None) -> Table:
    """The amplitude, if it is another than YaRN's own.

    `yarn_attn_factor` is that of the config. So is `attn_factor` of OLMo 3; elsewhere it multiplies YaRN's own.
    """
    stated = keys.factor("rope.scaling.yarn_attn_factor")
    times = keys.factor("rope.scaling.attn_factor")
    if stated is None and times is not None and keys.architecture == "olmo2":
        stated = times
    if stated is not None:
        return {"attention_factor": stated}
    if times is None or times == 1.0:
        return {}
    own = 1 + 0.1 * math.log(max(1.0, factor))
    return {"attention_factor": times * own / (1 + 0.1 * (share or 0.0) * math.log(max(1.0, factor)))}


def _positive(keys: GgufKeys, tensor: str, factors: Factors) -> list[float]:
    listed, rotated = factors(tensor), keys.whole("rope.dimension_count", head_dim_of(keys))
    if not all(1e-37 < one < 1e37 for one in listed):
        raise SpecError(f"'{tensor}' in {keys.file} has numbers that are not above 0; download or copy it again")
    if 2 * len(listed) != rotated:
        raise SpecError(
            f"'{tensor}' in {keys.file} has {len(listed)} numbers; {rotated} rotated features ('rope.dimension_count', "
            "'attention.key_length', or 'embedding_length' / 'attention.head_count') need half as many"
        )
    return listed
