"""Where tokens look: the attention pattern of one head, and numbers that sum it up."""

import numpy as np
from jaxtyping import Float, Float32, Float64, Int


def entropy_bits(pattern: Float[np.ndarray, "*head token past"]) -> Float32[np.ndarray, "*head token"]:
    """How widely each token looks: `-Σ_j p_ij · log2 p_ij`, in bits (Shannon 1948).

    0 is a look at one key alone; `log2(n)` bits spread evenly over n keys. `2 ** entropy` reads as a number of keys.
    """
    weight = pattern.astype(np.float32)
    surprise = np.log2(weight, out=np.zeros_like(weight), where=weight > 0)
    bits = -np.einsum("...tp,...tp->...t", weight, surprise)
    return np.asarray(np.maximum(bits, 0.0), np.float32)


def mean_after_first(of_rows: Float[np.ndarray, "*head token"]) -> Float64[np.ndarray, "*head"]:
    """The mean of a number of each row over the tokens after the first; NaN where there is no other.

    The first token has nothing else to read: its entropy is 0 and its share of itself 1, whatever the head does. Every
    mean that a command, a page or a screen gives of entropy, first-token share and distance is this one.
    """
    later = of_rows[..., 1:].astype(np.float64)
    return np.asarray(later.mean(axis=-1) if later.shape[-1] else np.full(of_rows.shape[:-1], np.nan), np.float64)


def first_token_share(pattern: Float[np.ndarray, "*head token past"]) -> Float32[np.ndarray, "*head token"]:
    """The share each token gives to the first one, 0 to 1: `p_i0`, what attention sinks are made of.

    Its mean over tokens is the sink score of Gu et al. 2024 (When Attention Sink Emerges). The first token itself
    has nothing else to read and always gives 1: `mean_after_first` leaves it out.
    """
    return np.asarray(pattern[..., 0], np.float32)


def effective_support(pattern: Float[np.ndarray, "*head token past"]) -> Float32[np.ndarray, "*head token"]:
    """How many keys each token reads, as it were: `1 / Σ_j p_ij²`, 1 (one key alone) to n (evenly from n keys).

    The number of equally strong keys that would give the same sum of squares (Hill 1973, the number of order 2).
    It counts strong keys where `2 ** entropy_bits` still counts weak ones, and is never more than that.
    """
    squares = np.einsum("...tp,...tp->...t", pattern, pattern, dtype=np.float64)
    return np.asarray(1.0 / squares, np.float32)


def mean_distance(pattern: Float[np.ndarray, "*head token past"]) -> Float32[np.ndarray, "*head token"]:
    """How far back each token looks, in tokens: `Σ_j p_ij · (i - j)`, 0 (itself) to i (the first token).

    Vig and Belinkov 2019 (Analyzing the Structure of Attention, arXiv 1906.04284), there averaged over texts. A
    sink at the first token makes any head look far: read it beside `first_token_share`.
    """
    tokens, past = pattern.shape[-2:]
    if tokens > past:
        raise ValueError(f"{tokens} queries cannot follow {past} keys; every query has a key of its own")
    position, key = np.arange(past - tokens, past), np.arange(past)
    reached = np.einsum("...tp,p->...t", pattern, key, dtype=np.float64)
    return np.asarray(position * pattern.sum(axis=-1, dtype=np.float64) - reached, np.float32)


def prefix_matching(
    pattern: Float[np.ndarray, "*head token past"], ids: Int[np.ndarray, " past"]
) -> Float32[np.ndarray, "*head"]:
    """How far each head looks to what followed the same token earlier: an induction score, 0 to 1.

    Over the tokens `i` that stood before at places `j`: `mean_i Σ_j p[i, j+1]` (Olsson et al. 2022, In-context
    Learning and Induction Heads, with the erratum of 2022-09-20; the attention to several earlier copies is added
    up). Random tokens, repeated, are its proper input: nothing else tells the head where to look. NaN where no
    token comes twice.
    """
    return _over_pairs(pattern, ids, per_token=True)


def prefix_matching_by_pair(
    pattern: Float[np.ndarray, "*head token past"], ids: Int[np.ndarray, " past"]
) -> Float32[np.ndarray, "*head"]:
    """The same, averaged over single entries: `mean_(i,j) p[i, j+1]`; at most 1 / copies where a token comes often."""
    return _over_pairs(pattern, ids, per_token=False)


def _over_pairs(
    pattern: Float[np.ndarray, "*head token past"], ids: Int[np.ndarray, " past"], *, per_token: bool
) -> Float32[np.ndarray, "*head"]:
    tokens, past = pattern.shape[-2:]
    if len(ids) != past:
        raise ValueError(f"the pattern has {past} keys, {len(ids)} ids were given")
    place = np.arange(past)
    earlier = (ids[:, None] == ids[None, :]) & (place[None, :] < place[:, None])
    followed = np.zeros_like(earlier)
    followed[:, 1:] = earlier[:, :-1]
    followed = followed[past - tokens :]
    count = followed.any(axis=-1).sum() if per_token else followed.sum()
    looked = np.where(followed, pattern, 0).sum(axis=(-2, -1), dtype=np.float64)
    return np.asarray(looked / count if count else np.full_like(looked, np.nan), np.float32)
