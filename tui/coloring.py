"""What of a run is colored, and how: arrays and their scales, no widgets."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from edge.attention_pattern import visible_keys
from edge.measure.attention import entropy_bits
from edge.picture.levels import Linear, Log, Scale, to_levels
from edge.trace import Trace
from tui.options import Options, Selection, attention_row
from tui.view_state import MeasuredRun

FAINTEST = 1e-3
"""Where the log scale of attention weights begins."""

MAPPED = ("attn.query", "attn.key")
"""Parts of a layer that its maps are recomputed from."""


@dataclass(frozen=True)
class PatternPicture:
    """A pattern as color levels, and the scale they lie on."""

    levels: UInt8[np.ndarray, "token past"]
    scale: Scale


def draw_pattern(
    pattern: Float32[np.ndarray, "token past"], trace: Trace, layer: int, options: Options
) -> PatternPicture:
    """Colors from 0, or the faintest on a log scale, to the largest weight shown; keys out of reach are hidden."""
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
    """The second pattern less the first, from the largest loss to as large a gain; zero is the middle."""
    hidden = _hidden(pattern, trace, layer, options)
    apart = other - pattern
    largest = max(float(np.max(np.abs(apart), initial=0.0, where=~hidden)), 1e-9)
    scale = Linear(-largest, largest)
    return PatternPicture(to_levels(apart, scale, hidden), scale)


def _hidden(pattern: Float32[np.ndarray, "token past"], trace: Trace, layer: int, options: Options) -> np.ndarray:
    tokens, past = pattern.shape
    hidden = ~visible_keys(tokens, past, trace.spec.layers[layer].window)
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
    """A number for each token; NaN where there is none. The scale is None where no token has one."""

    title: str
    unit: str
    values: Float32[np.ndarray, " token"]
    scale: Scale | None


def token_values(shown: MeasuredRun, selection: Selection, options: Options) -> TokenValues:
    """What the strip of tokens is colored by."""
    trace, color = shown.trace, options.color
    title = f"{color.title}, {options.sparsity.title}" if color.key == "sparsity" else color.title
    values = np.full(len(trace.tokens), np.nan, np.float32)
    unit = {"surprise": "bits", "ms": "ms"}.get(color.key, "share")
    match color.key:
        case "reads":
            row = attention_row(trace, selection)
            if row is not None:
                values[: selection.token + 1] = row
        case "received":
            pattern = _pattern(shown, selection)
            if pattern is not None:
                values[: trace.n_fed] = received(pattern)
        case "surprise":
            values[:] = shown.surprisal_bits
        case "sparsity":
            values[: trace.n_fed] = shown.overview.sparsity[options.sparsity.key][selection.layer]
        case "ms":
            waited = trace.timing.inter_token_ms
            values[trace.prompt_length + 1 : trace.prompt_length + 1 + len(waited)] = waited
    known = values[~np.isnan(values)]
    if not known.size:
        return TokenValues(title, unit, values, None)
    low = float(known.min()) if color.key in ("sparsity", "ms") else 0.0
    scale: Scale = Linear(low, max(float(known.max()), low + 1e-6))
    if options.is_log and color.key in ("reads", "received"):
        scale = Log(FAINTEST, max(float(known.max()), 2 * FAINTEST))
    return TokenValues(title, unit, values, scale)


def received(pattern: Float32[np.ndarray, "token past"]) -> Float32[np.ndarray, " past"]:
    """What each key is given by the tokens that may read it, on average: the column mean below the diagonal."""
    tokens, past = pattern.shape
    readers = np.minimum(tokens, np.arange(past, 0, -1))
    return np.asarray(pattern.sum(axis=0) / readers, np.float32)


def _pattern(shown: MeasuredRun, selection: Selection) -> Float32[np.ndarray, "token past"] | None:
    """The chosen head's pattern; None where it was not watched."""
    return None if shown.lacks(selection.layer, *MAPPED) else shown.trace.pattern(selection.layer, selection.head)


def margins(
    pattern: Float32[np.ndarray, "token past"],
) -> tuple[Float32[np.ndarray, " token"], Float32[np.ndarray, " past"]]:
    """Each row's entropy as a share of the widest possible, `log2(tokens)`; what each key is given, over the most."""
    given = received(pattern)
    widest = np.log2(max(2, len(pattern)))
    return (
        np.asarray(entropy_bits(pattern) / widest, np.float32),
        np.asarray(given / max(float(given.max(initial=0.0)), 1e-9), np.float32),
    )
