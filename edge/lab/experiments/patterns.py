"""Attention patterns of a layer's heads, uniform patterns, and weighted sums of values."""

import numpy as np
from jaxtyping import Float, Float32

from edge.attention_pattern import visible_keys
from edge.lab.claim import Grid
from edge.lab.context import LabContext
from edge.trace import Trace
from models.spec import AttentionWindow, DecoderSpec


def layer_patterns(trace: Trace, layer: int) -> Float32[np.ndarray, "head token past"]:
    """The attention pattern of each head of one layer."""
    return np.stack([trace.pattern(layer, head) for head in range(trace.spec.n_heads)])


def pairs_of_windows(lab: LabContext) -> list[tuple[Trace, Trace]]:
    """Pairs of windows of the passage, or of its halves if it has one window; without pairs with a single token."""
    traces = lab.traces
    if len(traces) < 2:
        middle = len(lab.passage) // 2
        traces = tuple(lab.run(half) for half in (lab.passage[:middle], lab.passage[middle:]))
    return [(a, b) for a, b in zip(traces[::2], traces[1::2], strict=False) if min(a.n_fed, b.n_fed) > 1]


def halves_tokens(lab: LabContext) -> int:
    """Tokens that `pairs_of_windows` feeds beyond the shared passage."""
    return len(lab.passage) if len(lab.window_ids) < 2 else 0


def uniform_pattern(tokens: int, window: AttentionWindow) -> Float32[np.ndarray, "token past"]:
    """Uniform attention over all visible keys: the baseline of head scores."""
    visible = visible_keys(tokens, tokens, window).astype(np.float32)
    return np.asarray(visible / visible.sum(axis=-1, keepdims=True), np.float32)


def read_values(
    patterns: Float[np.ndarray, "head token past"], value: Float[np.ndarray, "past kv_head head_dim"]
) -> Float32[np.ndarray, "token head head_dim"]:
    """The weighted sums of each head, `Σ_j p_ij v_j`; each key-value head serves equally many query heads."""
    own = value.repeat(len(patterns) // value.shape[1], axis=1).transpose(1, 0, 2)
    return np.asarray((patterns @ own).transpose(1, 0, 2), np.float32)


def by_head(matrix: Float[np.ndarray, "model joined"], spec: DecoderSpec) -> Float32[np.ndarray, "head head_dim model"]:
    """The rows of `W_O` for each head."""
    return np.asarray(matrix.T.reshape(spec.n_heads, -1, spec.d_model), np.float32)


def head_grid(title: str, unit: str, values: Float[np.ndarray, "layer head"]) -> Grid:
    """A grid with one number for each head."""
    return Grid(title, "layer", "head", unit, tuple(tuple(float(value) for value in row) for row in values))
