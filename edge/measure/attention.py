"""Numbers that summarize the attention pattern of one head."""

import numpy as np
from jaxtyping import Float, Float32, Float64, Int


def entropy_bits(pattern: Float[np.ndarray, "*head token past"]) -> Float32[np.ndarray, "*head token"]:
    """The entropy of each token's attention: `-Σ_j p_ij · log2 p_ij`, in bits (Shannon 1948).

    0 for a single key, `log2(n)` bits for uniform attention over n keys; `2 ** entropy` is an effective number of keys.
    """
    weight = pattern.astype(np.float32)
    log_weight = np.log2(weight, out=np.zeros_like(weight), where=weight > 0)
    bits = -np.einsum("...tp,...tp->...t", weight, log_weight)
    return np.asarray(np.maximum(bits, 0.0), np.float32)


def mean_after_first(of_rows: Float[np.ndarray, "*head token"]) -> Float64[np.ndarray, "*head"]:
    """The mean of a score over the tokens after the first; NaN if there is no other token.

    The first token attends only to itself: its entropy is 0 and its first-token share 1 in every head. All reported
    means of entropy, first-token share and distance leave it out.
    """
    later = of_rows[..., 1:].astype(np.float64)
    return np.asarray(later.mean(axis=-1) if later.shape[-1] else np.full(of_rows.shape[:-1], np.nan), np.float64)


def first_token_share(pattern: Float[np.ndarray, "*head token past"]) -> Float32[np.ndarray, "*head token"]:
    """The attention of each token to the first one, 0 to 1: `p_i0`, the measure of attention sinks.

    Its mean over tokens is the sink score of Gu et al. 2024 (When Attention Sink Emerges). The first token attends
    only to itself and always gives 1: `mean_after_first` leaves it out.
    """
    return np.asarray(pattern[..., 0], np.float32)


def effective_support(pattern: Float[np.ndarray, "*head token past"]) -> Float32[np.ndarray, "*head token"]:
    """Effective number of keys of each token: `1 / Σ_j p_ij²`, 1 (a single key) to n (uniform over n keys).

    The number of equally strong keys that would give the same sum of squares (Hill 1973, the number of order 2).
    It weighs strong keys more than `2 ** entropy_bits` does, and is never larger.
    """
    squares = np.einsum("...tp,...tp->...t", pattern, pattern, dtype=np.float64)
    return np.asarray(1.0 / squares, np.float32)


def mean_distance(pattern: Float[np.ndarray, "*head token past"]) -> Float32[np.ndarray, "*head token"]:
    """Mean attention distance of each token, in tokens: `Σ_j p_ij · (i - j)`, 0 (itself) to i (the first token).

    Vig and Belinkov 2019 (Analyzing the Structure of Attention, arXiv 1906.04284), there averaged over texts.
    A sink at the first token makes the distance large: compare with `first_token_share`.
    """
    tokens, past = pattern.shape[-2:]
    if tokens > past:
        raise ValueError(f"{tokens} queries and {past} keys; there must be at least one key per query")
    position, key = np.arange(past - tokens, past), np.arange(past)
    reached = np.einsum("...tp,p->...t", pattern, key, dtype=np.float64)
    return np.asarray(position * pattern.sum(axis=-1, dtype=np.float64) - reached, np.float32)


def prefix_matching(
    pattern: Float[np.ndarray, "*head token past"], ids: Int[np.ndarray, " past"]
) -> Float32[np.ndarray, "*head"]:
    """Induction score of each head: attention to the tokens after earlier copies of the token, 0 to 1.

    Over the tokens `i` with earlier copies at positions `j`: `mean_i Σ_j p[i, j+1]` (Olsson et al. 2022, In-context
    Learning and Induction Heads, with the erratum of 2022-09-20; attention to several earlier copies is
    summed). Use repeated random tokens, which give no other cue. NaN if no token is repeated.
    """
    return _over_pairs(pattern, ids, per_token=True)


def prefix_matching_by_pair(
    pattern: Float[np.ndarray, "*head token past"], ids: Int[np.ndarray, " past"]
) -> Float32[np.ndarray, "*head"]:
    """The same as a mean over pairs: `mean_(i,j) p[i, j+1]`; at most 1 / copies for frequent tokens."""
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
