"""Jensen-Shannon divergence of attention patterns: between runs, and between the heads of a layer."""

from itertools import combinations

import numpy as np
from jaxtyping import Float, Float32, Float64

_ROWS = 128  # rows of each pattern at a time, in float64


def jensen_shannon_bits(
    p: Float[np.ndarray, "row past"], q: Float[np.ndarray, "row past"]
) -> Float32[np.ndarray, " row"]:
    """Jensen-Shannon divergence of each pair of rows, `(KL(p ‖ m) + KL(q ‖ m)) / 2` with `m = (p + q) / 2`, in bits
    (Lin 1991).

    0 for equal rows, 1 if no key has weight in both rows.
    """
    first, second = p.astype(np.float64), q.astype(np.float64)
    middle = (first + second) / 2
    bits = (_entropy_terms(first) + _entropy_terms(second)) / 2 - _entropy_terms(middle)
    return np.asarray(np.clip(bits.sum(axis=-1), 0, 1), np.float32)


def pairwise_head_divergence(patterns: Float[np.ndarray, "head token past"]) -> Float32[np.ndarray, "head head"]:
    """For each pair of heads, the mean of `jensen_shannon_bits` over the queries after the first: 0 to 1, in bits.

    Clark et al. 2019 (What Does BERT Look At?, arXiv 1906.04341, section 6) cluster heads by its sum over tokens.
    Symmetric, 0 on the diagonal. All NaN if the only query is the first token.
    """
    heads, tokens, past = patterns.shape
    if tokens > past:
        raise ValueError(f"{tokens} queries and {past} keys; there must be at least one key per query")
    first = int(tokens == past)
    if tokens == first:
        return np.full((heads, heads), np.nan, np.float32)
    bits = np.zeros((heads, heads))
    for start in range(first, tokens, _ROWS):
        stop = min(start + _ROWS, tokens)
        visible = past - tokens + stop  # later keys are hidden from all these rows
        bits += _summed_bits(patterns[:, start:stop, :visible].astype(np.float64))
    return np.asarray((bits + bits.T) / (tokens - first), np.float32)


def _summed_bits(patterns: Float64[np.ndarray, "head row past"]) -> Float64[np.ndarray, "head head"]:
    """Divergences summed over rows, above the diagonal."""
    own = [_entropy_terms(pattern).sum(axis=-1) for pattern in patterns]
    bits = np.zeros((len(patterns), len(patterns)))
    for one, other in combinations(range(len(patterns)), 2):
        middle = _entropy_terms((patterns[one] + patterns[other]) / 2).sum(axis=-1)
        bits[one, other] = np.clip((own[one] + own[other]) / 2 - middle, 0, 1).sum()
    return bits


def _entropy_terms(p: Float64[np.ndarray, "row past"]) -> Float64[np.ndarray, "row past"]:
    """`p · log2 p`, 0 where p is 0."""
    terms: Float64[np.ndarray, "row past"] = p * np.log2(p, out=np.zeros_like(p), where=p > 0)
    return terms
