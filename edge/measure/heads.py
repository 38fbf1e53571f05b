"""Scores of head types: from the attention pattern, and from the effect on logits (OV circuit)."""

from math import prod

import numpy as np
from jaxtyping import Bool, Float, Float32, Int


def previous_token_score(pattern: Float[np.ndarray, "*head token past"]) -> Float32[np.ndarray, "*head"]:
    """The attention of each head to the previous token, 0 to 1: `mean_i p[i, i-1]` over `i >= 1`.

    Olsson et al. 2022 (In-context Learning and Induction Heads, arXiv 2209.11895, p. 60), who use text like the
    training data. NaN if the only query is the first token.
    """
    tokens, past = _queries_and_keys(pattern)
    return _mean(np.diagonal(pattern, past - tokens - 1, -2, -1))


def confidence(pattern: Float[np.ndarray, "*head token past"]) -> Float32[np.ndarray, "*head"]:
    """Mean largest attention weight: `mean_i max_j p_ij`, 1 / keys to 1 (Voita et al. 2019, arXiv 1905.09418).

    The first token attends only to itself and gives 1; `pattern[..., 1:, :]` leaves it out.
    """
    return _mean(pattern.max(axis=-1))


def positional_offset(
    pattern: Float[np.ndarray, "*head token past"],
) -> tuple[Int[np.ndarray, "*head"], Float32[np.ndarray, "*head"]]:
    """The most frequent distance of each head's largest weight, and its share; a head is positional from 0.9 on.

    The distance is `i - argmax_j p_ij` in tokens, 1 for the previous token; the share is of the queries after the
    first, 0 to 1 (Voita et al. 2019, arXiv 1905.09418). Equal weights count as the earliest key, equally frequent
    distances as the shortest. The share is NaN if the only query is the first token.
    """
    tokens, past = _queries_and_keys(pattern)
    first = int(tokens == past)  # the first token attends only to itself
    strongest = pattern[..., first:, :].argmax(axis=-1)
    distance = np.arange(past - tokens + first, past) - strongest
    heads, asked = prod(pattern.shape[:-2]), tokens - first
    of_head = np.arange(heads)[:, None] * past + distance.reshape(heads, asked)
    times = np.bincount(of_head.ravel(), minlength=heads * past).reshape(*pattern.shape[:-2], past)
    share = times.max(axis=-1) / asked if asked else np.full(pattern.shape[:-2], np.nan)
    return np.asarray(times.argmax(axis=-1)), np.asarray(share, np.float32)


def sink_rate(patterns: Float[np.ndarray, "*head token past"], epsilon: float = 0.3, key: int = 0) -> float:
    """The share of heads, 0 to 1, for which one key is a sink: `mean_h [α > ε]` with `α = mean_(i >= key) p[i, key]`.

    Gu et al. 2024 (When Attention Sink Emerges in Language Models, arXiv 2410.10781): 64 tokens, ε = 0.3, the
    first key, over all layers and heads. Longer texts tend to have fewer sinks: compare equal lengths.
    """
    tokens, past = _queries_and_keys(patterns)
    if not 0 <= key < past:
        raise ValueError(f"no key {key} in a pattern of {past} keys, 0 to {past - 1}")
    if not 0.0 <= epsilon < 1.0:
        raise ValueError(f"a sink needs a share epsilon with 0 <= epsilon < 1, got {epsilon:g}")
    seen_from = max(key - (past - tokens), 0)
    return float((patterns[..., seen_from:, key].mean(axis=-1, dtype=np.float64) > epsilon).mean())


def previous_token_mask(tokens: int) -> Bool[np.ndarray, "token past"]:
    """The target of a previous-token head: `i - 1` (TransformerLens, `head_detector`)."""
    return np.eye(tokens, k=-1, dtype=np.bool_)


def duplicate_token_mask(ids: Int[np.ndarray, " token"]) -> Bool[np.ndarray, "token past"]:
    """The targets of a duplicate-token head: earlier copies of the token (TransformerLens, `head_detector`)."""
    return np.tril(ids[:, None] == ids[None, :], k=-1)


def induction_mask(ids: Int[np.ndarray, " token"]) -> Bool[np.ndarray, "token past"]:
    """The targets of an induction head: the tokens after earlier copies (TransformerLens, `head_detector`)."""
    mask = np.zeros((len(ids), len(ids)), np.bool_)
    mask[:, 1:] = duplicate_token_mask(ids)[:, :-1]
    return mask


def detection_share(
    pattern: Float[np.ndarray, "*head token past"], mask: Bool[np.ndarray, "token past"]
) -> Float32[np.ndarray, "*head"]:
    """The share of a head's attention on a mask, 0 to 1: `Σ p·m / Σ p`.

    The `mul` measure of TransformerLens' `head_detector`. Tokens without a key in the mask count too, so the maximum
    is the share of tokens that have one: `(n - 1) / n` for the previous token.
    """
    tokens, past = pattern.shape[-2:]
    if tokens != past:
        raise ValueError(f"a mask is for a full pass, the pattern has {tokens} queries and {past} keys")
    total = pattern.sum(axis=(-2, -1), dtype=np.float64)
    return np.asarray(np.sum(pattern, axis=(-2, -1), dtype=np.float64, where=mask) / total, np.float32)


def ov_logits(
    value: Float[np.ndarray, "past head_dim"],
    out: Float[np.ndarray, "head_dim width"],
    unembedding: Float[np.ndarray, "past width"],
) -> Float32[np.ndarray, "past past"]:
    """The contribution of one head, with weight 1 on a token, to the logit of each token of a text: `v_j · W_O · u_k`.

    Row `j` is the key, column `k` the token whose logit changes. This is the direct path: it excludes later layers, and
    has only the norms that are folded into `out` (`edge.readout.Readout.folded`). `unembedding` has one row per token.
    """
    read = out.astype(np.float64) @ unembedding.astype(np.float64).T
    return np.asarray(value.astype(np.float64) @ read, np.float32)


def copying_score(logits: Float[np.ndarray, "*head token token"]) -> Float32[np.ndarray, "*head"]:
    """How much a head raises the token it attends to, over the other tokens: -1 (others only) to 1 (that token only).

    `2 · Σ_j r_jj / Σ_jk r_jk - 1` with `r_jk = relu(l_jk - mean_k l_jk)`, from `ov_logits` of distinct random tokens
    (Olsson et al. 2022, arXiv 2209.11895, p. 60: 25 tokens, mean of 10 samples). The paper scales a ratio whose maximum
    is 0.5; the maximum of `Σ r_jj / Σ r_jk` is 1. The score has the same limits, but values between them may differ.
    Chance: `2 / n - 1`. NaN if no token is raised.
    """
    raised = np.maximum(logits - logits.mean(axis=-1, keepdims=True, dtype=np.float64), 0.0)
    own, total = np.trace(raised, axis1=-2, axis2=-1), raised.sum(axis=(-2, -1))
    share = np.divide(own, total, out=np.full(total.shape, np.nan), where=total > 0)
    return np.asarray(2.0 * share - 1.0, np.float32)


def _queries_and_keys(pattern: Float[np.ndarray, "*head token past"]) -> tuple[int, int]:
    tokens, past = pattern.shape[-2:]
    if tokens > past:
        raise ValueError(f"{tokens} queries and {past} keys; there must be at least one key per query")
    return tokens, past


def _mean(shares: Float[np.ndarray, "*head token"]) -> Float32[np.ndarray, "*head"]:
    if not shares.shape[-1]:
        return np.full(shares.shape[:-1], np.nan, np.float32)
    return np.asarray(shares.mean(axis=-1, dtype=np.float64), np.float32)
