"""Arrays as color levels with their scales, without widgets."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from edge.attention_pattern import visible_keys
from edge.measure.attention import entropy_bits
from edge.picture.levels import Linear, Log, Scale, to_levels
from edge.trace import Trace
from models.sites import KEY, QUERY
from tui.options import Options, Selection, attention_row
from tui.view_state import MeasuredRun

FAINTEST = 1e-3
"""The lower end of the log scale of attention weights."""

MAPPED = (QUERY, KEY)
"""Sites of a layer that its attention patterns are recomputed from."""


@dataclass(frozen=True)
class PatternPicture:
    """An attention pattern as color levels, and their scale."""

    levels: UInt8[np.ndarray, "token past"]
    scale: Scale


def draw_pattern(
    pattern: Float32[np.ndarray, "token past"], trace: Trace, layer: int, options: Options
) -> PatternPicture:
    """Colors from 0, or `FAINTEST` on a log scale, to the largest weight; keys outside the window are hidden."""
    hidden = _hidden(pattern, trace, layer, options)
    highest = max(float(np.max(pattern, initial=0.0, where=~hidden)), 2 * FAINTEST)
    scale = Log(FAINTEST, highest) if options.is_log else Linear(0.0, highest)
    return PatternPicture(to_levels(pattern, scale, hidden), scale)


def draw_difference(
    pattern: Float32[np.ndarray, "token past"],
    other: Float32[np.ndarray, "token past"],
    trace: Trace,
    layer: int,
    options: Options,
) -> PatternPicture:
    """The second pattern minus the first, on a symmetric scale."""
    hidden = _hidden(pattern, trace, layer, options)
    difference = other - pattern
    largest = max(float(np.max(np.abs(difference), initial=0.0, where=~hidden)), 1e-9)
    scale = Linear(-largest, largest)
    return PatternPicture(to_levels(difference, scale, hidden), scale)


def _hidden(pattern: Float32[np.ndarray, "token past"], trace: Trace, layer: int, options: Options) -> np.ndarray:
    tokens, past = pattern.shape
    hidden = ~visible_keys(tokens, past, trace.spec.layers[layer].attention.window)
    if options.drops_first:
        hidden[:, 0] = True
    return hidden


def score_scale(scores: Float32[np.ndarray, "layer head"], top: float | None) -> Scale | None:
    """From 0 to `top`, or to the largest score; None while no head is scored."""
    known = scores[~np.isnan(scores)]
    if not known.size:
        return None
    return Linear(0.0, max(float(known.max()), 0.1) if top is None else top)


@dataclass(frozen=True)
class TokenValues:
    """One number per token; NaN where there is none. The scale is None where no token has one."""

    title: str
    unit: str
    values: Float32[np.ndarray, " token"]
    scale: Scale | None


def token_values(shown: MeasuredRun, selection: Selection, options: Options) -> TokenValues:
    """The values that the tokens are colored by."""
    trace, color = shown.trace, options.color
    of = {
        "sparsity": f", {options.sparsity.title}",
        **dict.fromkeys(("attention", "received"), f", head {selection.layer}.{selection.head}"),
    }
    title = color.title + of.get(color.key, "")
    values = np.full(len(trace.tokens), np.nan, np.float32)
    unit = {"surprisal": "bits", "latency": "ms"}.get(color.key, "share")
    match color.key:
        case "attention":
            row = attention_row(trace, selection)
            if row is not None:
                values[: selection.token + 1] = row
        case "received":
            pattern = _pattern(shown, selection)
            if pattern is not None:
                values[: trace.n_fed] = received(pattern)
        case "surprisal":
            values[:] = shown.surprisal_bits
        case "sparsity":
            values[: trace.n_fed] = shown.overview.sparsity[options.sparsity.key][selection.layer]
        case "latency":
            waited = trace.timing.inter_token_ms
            values[trace.prompt_length + 1 : trace.prompt_length + 1 + len(waited)] = waited
    known = values[~np.isnan(values)]
    if not known.size:
        return TokenValues(title, unit, values, None)
    low = float(known.min()) if color.key in ("sparsity", "latency") else 0.0
    scale: Scale = Linear(low, max(float(known.max()), low + 1e-6))
    if options.is_log and color.key in ("attention", "received"):
        scale = Log(FAINTEST, max(float(known.max()), 2 * FAINTEST))
    return TokenValues(title, unit, values, scale)


def received(pattern: Float32[np.ndarray, "token past"]) -> Float32[np.ndarray, " past"]:
    """Mean weight that each key receives from the queries at or after it: `(past,)`."""
    tokens, past = pattern.shape
    readers = np.minimum(tokens, np.arange(past, 0, -1))
    return np.asarray(pattern.sum(axis=0) / readers, np.float32)


def _pattern(shown: MeasuredRun, selection: Selection) -> Float32[np.ndarray, "token past"] | None:
    """The chosen head's pattern; None where it was not recorded."""
    return None if shown.lacks(selection.layer, *MAPPED) else shown.trace.pattern(selection.layer, selection.head)


def margins(
    pattern: Float32[np.ndarray, "token past"],
) -> tuple[Float32[np.ndarray, " token"], Float32[np.ndarray, " past"]]:
    """Entropy of each row over its maximum `log2(tokens)`; received attention of each key over the largest."""
    given = received(pattern)
    widest = np.log2(max(2, len(pattern)))
    return (
        np.asarray(entropy_bits(pattern) / widest, np.float32),
        np.asarray(given / max(float(given.max(initial=0.0)), 1e-9), np.float32),
    )
