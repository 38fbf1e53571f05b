"""Routing in a mixture of experts: load, its balance and entropy, and the tokens with the largest weights.

Each token chooses a few experts, its slots. Neurons of the other experts are inactive at this token, so routing is
activation sparsity by whole experts.
"""

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int64

from edge.measure.attention import entropy_bits
from models.sublayers.routers import Router, Sigmoid


def router_shares(scores: Float[np.ndarray, "token expert"], router: Router) -> Float32[np.ndarray, "token expert"]:
    """The router's distribution over experts for each token, before the choice; rows sum to 1.

    `softmax(s)` of the scores (Shazeer et al. 2017, arXiv 1701.06538); for a sigmoid router `σ(s_e) / Σ_i σ(s_i)`
    (the sequence-wise balance loss of DeepSeek-V3, arXiv 2412.19437). It leaves out the correction that
    some sigmoid routers add for the choice only.
    """
    wide = scores.astype(np.float64)
    if isinstance(router, Sigmoid):
        weight = np.exp(-np.logaddexp(0.0, -wide))
    else:
        weight = np.exp(wide - wide.max(axis=-1, keepdims=True))
    total = weight.sum(axis=-1, keepdims=True)
    even = np.full_like(weight, 1.0 / weight.shape[-1])
    return np.asarray(np.divide(weight, total, out=even, where=total > 0), np.float32)


def load(chosen: Int[np.ndarray, "token slot"], n_experts: int) -> Float32[np.ndarray, " expert"]:
    """The load of each expert: its share of all choices, `Σ_t [e is chosen at t] / (tokens · slots)`; sums to 1.

    `f_e` of Fedus et al. 2022 (Switch Transformers, arXiv 2101.03961, equation 5), divided by the slots of a token.
    `1 / n_experts` for each expert if the load is even. NaN without tokens.
    """
    count = np.bincount(chosen.ravel(), minlength=n_experts)
    return np.asarray(count / chosen.size if chosen.size else np.full(n_experts, np.nan), np.float32)


def balance(of_experts: Float[np.ndarray, " expert"], shares: Float[np.ndarray, "token expert"]) -> float:
    """`E · Σ_e load_e · mean_t p_te`: 1 if even, up to `E / slots` if every token chooses the same experts.

    The auxiliary loss of Fedus et al. 2022 (arXiv 2101.03961, equation 4) without its coefficient, from `load` and
    `router_shares`. NaN without tokens.
    """
    if not len(shares):
        return float("nan")
    return float(len(of_experts) * (of_experts.astype(np.float64) @ shares.mean(axis=0, dtype=np.float64)))


def load_entropy_bits(of_experts: Float[np.ndarray, " expert"]) -> float:
    """The entropy of the load: `-Σ_e load_e · log2 load_e`, in bits (Shannon 1948).

    0 if one expert has all of it, `log2(n_experts)` if it is even.
    """
    return float(entropy_bits(of_experts[None])[0])


def router_entropy_bits(shares: Float[np.ndarray, "token expert"]) -> Float32[np.ndarray, " token"]:
    """The entropy of the router's distribution for each token, in bits: low where the router prefers few experts."""
    return entropy_bits(shares)


def largest_weights(given: Float[np.ndarray, "token expert"], expert: int, k: int) -> Int64[np.ndarray, " top"]:
    """The k tokens that give one expert the largest weight, largest first; only tokens that give it any.

    Equal weights are in the order of the text.
    """
    weight = given[:, expert]
    order = np.argsort(-weight, kind="stable")[:k]
    return np.asarray(order[weight[order] > 0], np.int64)


def shared_choices(
    chosen: Int[np.ndarray, "token slot"],
    labels: Int[np.ndarray, " token"],
    parts: Int[np.ndarray, " token"],
    n_experts: int,
) -> Float64[np.ndarray, "part part 2"]:
    """Experts that tokens with the same label share, for each two parts of a text; and how many they could share.

    The first is the sum of `|A ∩ B|` over all pairs of such tokens, A and B their sets of k experts; the second k times
    the number of pairs. A pair within one part is counted twice, and each token with itself.
    """
    _, of_label = np.unique(labels, return_inverse=True)
    uses = np.zeros((parts.max() + 1, of_label.max() + 1, n_experts + 1), np.float64)
    # The last column counts tokens.
    for column in (*chosen.T, np.full(len(chosen), n_experts)):
        np.add.at(uses, (parts, of_label, column.astype(np.int64)), 1.0)
    tokens, uses = uses[..., n_experts], uses[..., :n_experts].reshape(len(uses), -1)
    return np.stack([uses @ uses.T, chosen.shape[1] * (tokens @ tokens.T)], axis=-1)


def chance_of_sharing(chosen: Int[np.ndarray, "token slot"], n_experts: int) -> float:
    """The mean of `|A ∩ B| / k` over all pairs of tokens: `Σ_e n_e (n_e - 1) / (k N (N - 1))`, n_e tokens choose e.

    It is the expected share if the choices are shuffled between tokens, which keeps every expert's load. NaN for fewer
    than two tokens.
    """
    tokens, slots = chosen.shape
    count = np.bincount(chosen.ravel(), minlength=n_experts).astype(np.float64)
    return float((count * (count - 1)).sum() / (slots * tokens * (tokens - 1))) if tokens > 1 else float("nan")
