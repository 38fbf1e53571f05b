"""Agreement of two lists of numbers: Pearson and Spearman correlation, and overlap of the highest entries."""

import numpy as np
from jaxtyping import Float, Float64, Int64


def correlation(
    first: Float[np.ndarray, "row entry"], second: Float[np.ndarray, "row entry"]
) -> Float64[np.ndarray, " row"]:
    """Pearson's r of each pair of rows, -1 to 1: `Σ ab / √(Σ a² · Σ b²)` for centered `a`, `b` (Pearson 1895).

    NaN if a row is constant or has a number that is not finite.
    """
    with np.errstate(invalid="ignore"):
        a, b = (
            rows.astype(np.float64) - rows.mean(axis=-1, keepdims=True, dtype=np.float64) for rows in (first, second)
        )
        lengths = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
        products = (a * b).sum(axis=-1)
    return np.asarray(np.divide(products, lengths, out=np.full(len(first), np.nan), where=lengths > 0))


def top_overlap(
    first: Float[np.ndarray, "row entry"], second: Float[np.ndarray, "row entry"], k: int
) -> Int64[np.ndarray, " row"]:
    """How many of the `k` highest entries of each row are among the `k` highest of the other, 0 to `k`.

    Chance: `k² / entries`. Ties at the last place are broken arbitrarily.
    """
    entries = first.shape[-1]
    if not 1 <= k <= entries:
        raise ValueError(f"cannot compare the {k} highest of {entries} entries")
    highest = [np.argpartition(rows, entries - k, axis=-1)[:, entries - k :] for rows in (first, second)]
    return np.array([len(np.intersect1d(*two)) for two in zip(*highest, strict=True)], np.int64)


def ranks(values: Float[np.ndarray, " entry"]) -> Float64[np.ndarray, " entry"]:
    """The rank of each entry from 0, the smallest; equal entries share their mean rank."""
    below = (values[None, :] < values[:, None]).sum(axis=1)
    return np.asarray(below + ((values[None, :] == values[:, None]).sum(axis=1) - 1) / 2, np.float64)


def rank_correlation(a: Float[np.ndarray, " entry"], b: Float[np.ndarray, " entry"]) -> float:
    """Spearman's rank correlation, -1 to 1 (Spearman 1904); NaN if either list is constant."""
    first, second = (rank - rank.mean() for rank in (ranks(a), ranks(b)))
    norm = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / norm if norm > 0 else float("nan")
