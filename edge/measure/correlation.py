"""How far numbers that were read off weights agree with numbers that were measured."""

import numpy as np
from jaxtyping import Float, Float64, Int64


def correlation(
    read: Float[np.ndarray, "row entry"], measured: Float[np.ndarray, "row entry"]
) -> Float64[np.ndarray, " row"]:
    """Pearson's r of each two rows, -1 to 1: `Σ ab / √(Σ a² · Σ b²)` of `a`, `b` less their means (Pearson 1895).

    NaN where a row has one value everywhere, or holds what is no finite number.
    """
    with np.errstate(invalid="ignore"):
        a, b = (
            rows.astype(np.float64) - rows.mean(axis=-1, keepdims=True, dtype=np.float64) for rows in (read, measured)
        )
        lengths = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
        products = (a * b).sum(axis=-1)
    return np.asarray(np.divide(products, lengths, out=np.full(len(read), np.nan), where=lengths > 0))


def top_overlap(
    read: Float[np.ndarray, "row entry"], measured: Float[np.ndarray, "row entry"], k: int
) -> Int64[np.ndarray, " row"]:
    """How many of the `k` highest entries of each row are among the `k` highest of the other, 0 to `k`.

    By chance `k² / entries`. Which of several equal entries comes in last is not defined.
    """
    entries = read.shape[-1]
    if not 1 <= k <= entries:
        raise ValueError(f"cannot compare the {k} highest of {entries} entries")
    highest = [np.argpartition(rows, entries - k, axis=-1)[:, entries - k :] for rows in (read, measured)]
    return np.array([len(np.intersect1d(*two)) for two in zip(*highest, strict=True)], np.int64)
