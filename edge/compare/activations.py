"""Differences in activations between two variants: attention patterns of heads, and activation sparsity."""

import numpy as np
from jaxtyping import Float32

from edge.measure.divergence import jensen_shannon_bits
from edge.measure.registry import SHARE_MEASURES
from edge.trace import Trace
from models.sites import KEY, QUERY, layer_site

_ROWS = 128  # rows of a pattern that are converted to float64 at a time


def head_divergence(seen: Trace, reference: Trace, layer: int) -> tuple[float, ...] | None:
    """Mean of `jensen_shannon_bits` over the queries after the first, for each head of a layer.

    None if the numbers of heads differ or one variant lacks the layer. The first token attends only to itself.
    """
    needed = {layer_site(layer, QUERY), layer_site(layer, KEY)}
    if not needed <= seen.sites.keys() or not needed <= reference.sites.keys():
        return None
    if seen.spec.n_heads != reference.spec.n_heads or reference.n_fed < 2:
        return None
    return tuple(
        _mean_bits(seen.pattern(layer, head), reference.pattern(layer, head)) for head in range(reference.spec.n_heads)
    )


def _mean_bits(own: Float32[np.ndarray, "row past"], other: Float32[np.ndarray, "row past"]) -> float:
    pieces = [slice(start, start + _ROWS) for start in range(1, len(own), _ROWS)]
    return float(np.concatenate([jensen_shannon_bits(own[at], other[at]) for at in pieces]).mean())


def mean_sparsity(seen: Trace, layer: int) -> tuple[float, ...]:
    """Mean over tokens of each measure in `SHARE_MEASURES`, for one layer."""
    neurons = seen.neurons(layer)
    return tuple(float(measure.of(neurons).mean()) for measure in SHARE_MEASURES)
