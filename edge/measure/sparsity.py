"""Activation sparsity by several definitions. They are not comparable: always report which one."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from edge.measure.neurons import vector_norms

_TOKENS_AT_ONCE = 256
_HALVINGS = 48
_SMALLEST = float(np.finfo(np.float32).tiny)


def _relative(a: Float[np.ndarray, "*token neuron"]) -> Float[np.ndarray, "*token neuron"]:
    """`|a|` in units of each token's largest, in float64: squares neither overflow nor vanish."""
    magnitude = np.abs(a.astype(np.float64))
    peak = magnitude.max(axis=-1, keepdims=True)
    magnitude /= np.where(peak > 0, peak, 1.0)
    return magnitude


def _over(
    part: Float[np.ndarray, "*token"] | np.floating, whole: Float[np.ndarray, "*token"] | np.floating, if_zero: float
) -> Float[np.ndarray, "*token"]:
    """`part / whole`, and `if_zero` where the whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.full_like(whole, if_zero), where=whole > 0))


def exact_zero_share(a: Float[np.ndarray, "*token neuron"]) -> Float32[np.ndarray, "*token"]:
    """`mean(a == 0)` over neurons: a share, 0 (all active) to 1 (all zero).

    1 minus the share of nonzero entries in Li et al. 2022 (The Lazy Neuron Phenomenon, arXiv 2210.06313).
    Informative for ReLU only: GELU and SiLU are exactly 0 only by rounding in float32.
    """
    return np.asarray(np.mean(a == 0, axis=-1), np.float32)


def below_share(a: Float[np.ndarray, "*token neuron"], threshold: float) -> Float32[np.ndarray, "*token"]:
    """`mean(|a| < ε)` over neurons: a share, 0 to 1; ε is in the unit of `a`.

    The neurons that CATS (Lee et al. 2024, arXiv 2404.08763) and TEAL drop, with one ε per layer.
    """
    return np.asarray(np.mean(np.abs(a) < np.float64(threshold), axis=-1), np.float32)


def quantile_threshold(a: Float[np.ndarray, "*token neuron"], share: float) -> float:
    """The ε for `below_share` from a calibration text, in the unit of `a`.

    The largest ε with at most `share` of all `|a|` below it: the quantile that CATS (arXiv 2404.08763) and TEAL
    choose per layer. 0 if more than that share is exactly 0.
    """
    if not 0.0 <= share < 1.0:
        raise ValueError(f"a quantile needs a share with 0 <= share < 1, got {share:g}")
    if not a.size:
        raise ValueError("a quantile needs at least one value, got none")
    rank = math.floor(round(share * a.size, 6))  # 0.29 · 100 is 28.999999999999996
    rank = min(rank, a.size - 1)
    return float(np.partition(np.abs(a).ravel(), rank)[rank])


def top_p_sparsity(a: Float[np.ndarray, "*token neuron"], p: float = 0.9) -> Float32[np.ndarray, "*token"]:
    """The share of neurons that can be dropped while the others keep `p` of `Σ|a|`: 0 to below 1, or 1 if all are 0.

    `1 - k / n` with k the fewest entries whose magnitudes sum to `p · ‖a‖₁` (Szatkowski et al. 2025,
    arXiv 2509.00454). Unchanged when `a` is scaled, so different activations are comparable.
    """
    if not 0.0 < p <= 1.0:
        raise ValueError(f"top-p needs a share p with 0 < p <= 1, got {p:g}")
    kept = np.cumsum(-np.sort(-_relative(a), axis=-1), axis=-1)
    reached = kept >= p * kept[..., -1:]
    needed = np.where(kept[..., -1] > 0, np.argmax(reached, axis=-1) + 1, 0)
    return np.asarray(1.0 - needed / a.shape[-1], np.float32)


def top_k_energy(a: Float[np.ndarray, "*token neuron"], k: int) -> Float32[np.ndarray, "*token"]:
    """The share of a token's energy in its k strongest neurons: `Σ_top-k a² / Σ a²`, k / n to 1.

    1 if all neurons are 0. Unchanged when `a` is scaled.
    """
    neurons = a.shape[-1]
    if not 1 <= k <= neurons:
        raise ValueError(f"k must be 1 to {neurons}, the number of neurons, got {k}")
    energy = _relative(a) ** 2
    strongest = np.partition(energy, neurons - k, axis=-1)[..., neurons - k :]
    share = _over(strongest.sum(axis=-1), energy.sum(axis=-1), if_zero=1.0)
    return np.asarray(np.minimum(share, 1.0), np.float32)


def hoyer(a: Float[np.ndarray, "*token neuron"]) -> Float32[np.ndarray, "*token"]:
    """`(√n - ‖a‖₁ / ‖a‖₂) / (√n - 1)`: 0 if all magnitudes are equal, 1 if one neuron is active alone.

    Hoyer 2004 (Non-negative Matrix Factorization with Sparseness Constraints, section 3.1). Unchanged when `a` is
    scaled. 1 if all neurons are 0, as for top-p.
    """
    neurons = a.shape[-1]
    if neurons < 2:
        raise ValueError(f"Hoyer's measure compares neurons and needs 2 of them, got {neurons}")
    magnitude = _relative(a)
    spread = _over(magnitude.sum(axis=-1), np.sqrt((magnitude**2).sum(axis=-1)), if_zero=1.0)
    root = math.sqrt(neurons)
    return np.asarray(np.clip((root - spread) / (root - 1), 0.0, 1.0), np.float32)


def gini(a: Float[np.ndarray, "*token neuron"]) -> Float32[np.ndarray, "*token"]:
    """`1 - 2 Σ_k (c_k / ‖a‖₁) · (n - k + ½) / n`, `c` being `|a|` in rising order, k from 1 to n.

    0 if all magnitudes are equal, `1 - 1/n` if one neuron is active alone (Hurley & Rickard 2009, Comparing
    Measures of Sparsity, arXiv 0811.4706). Unchanged when `a` is scaled. 1 if all neurons are 0, as for top-p.
    """
    neurons = a.shape[-1]
    rising = np.sort(_relative(a), axis=-1)
    weight = (neurons - np.arange(neurons) - 0.5) / neurons
    area = _over(rising @ weight, rising.sum(axis=-1), if_zero=0.0)
    return np.asarray(np.clip(1.0 - 2.0 * area, 0.0, 1.0), np.float32)


def participation_ratio(a: Float[np.ndarray, "*token neuron"]) -> Float32[np.ndarray, "*token"]:
    """Effective number of neurons that share a token's energy: `(Σ a²)² / Σ a⁴`, 1 (one active) to n (all equal).

    0 if all neurons are 0. Unchanged when `a` is scaled.
    """
    energy = _relative(a) ** 2
    count = _over(energy.sum(axis=-1) ** 2, (energy**2).sum(axis=-1), if_zero=0.0)
    return np.asarray(np.minimum(count, a.shape[-1]), np.float32)


def output_norms(
    a: Float[np.ndarray, "*token neuron"], value_norms: Float[np.ndarray, " neuron"]
) -> Float32[np.ndarray, "*token neuron"]:
    """L2 norm of each neuron's contribution: `‖n_i‖₂ = |a_i| · ‖v_i‖₂`, with `v_i = W_down[:, i]`; in units of the
    residual stream.

    The magnitude by which Zhang et al. 2024 (ReLU² Wins, arXiv 2402.03804) call a neuron active; it accounts for the
    norms of value vectors. `value_norms` are `neurons.vector_norms` of the value vectors.
    """
    return np.asarray(np.abs(a).astype(np.float32) * value_norms.astype(np.float32), np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class CettSparsity:
    """The CETT sparsity of one layer at a given error.

    Attributes:
        threshold: ε: neurons whose output's norm is below it are dropped; in units of the residual.
        error: Mean CETT that this threshold reaches, 0 to the target.
        share: Share of neurons below ε, for each token, 0 to 1.
    """

    threshold: float
    error: float
    share: Float32[np.ndarray, " token"]


def _tail(
    neurons: Float[np.ndarray, "token neuron"], value_vectors: Float[np.ndarray, "neuron model"], threshold: float
) -> tuple[Float32[np.ndarray, " token"], Float32[np.ndarray, " token"]]:
    """The norm of what the neurons below ε write together, and their share, for each token."""
    vectors, norms = value_vectors.astype(np.float32, copy=False), vector_norms(value_vectors)
    written, share = np.empty(len(neurons), np.float32), np.empty(len(neurons), np.float32)
    for first in range(0, len(neurons), _TOKENS_AT_ONCE):
        rows = slice(first, first + _TOKENS_AT_ONCE)
        a = neurons[rows].astype(np.float32)
        below = output_norms(a, norms) < np.float64(threshold)
        a[~below] = 0
        written[rows] = np.linalg.norm((a @ vectors).astype(np.float64), axis=-1)
        share[rows] = below.mean(axis=-1)
    return written, share


def cett(
    neurons: Float[np.ndarray, "token neuron"], value_vectors: Float[np.ndarray, "neuron model"], threshold: float
) -> Float32[np.ndarray, " token"]:
    """The error of dropping neurons that contribute less than ε: `‖Σ_{i∈D} n_i‖₂ / ‖FFN(x)‖₂`, `D = {i: ‖n_i‖₂ < ε}`.

    Cumulative errors of tail truncation (Zhang et al. 2024, ReLU² Wins, arXiv 2402.03804). `n_i = a_i · v_i`;
    `a` is what enters the down projection, `v_i = W_down[:, i]`, and `FFN(x) = Σ_i n_i` without the bias. 0 drops
    nothing, 1 drops all; outputs that cancel each other can exceed 1. 0 if the FFN's output is 0.
    """
    whole, _ = _tail(neurons, value_vectors, np.inf)
    dropped, _ = _tail(neurons, value_vectors, threshold)
    return np.asarray(_over(dropped, whole, if_zero=0.0), np.float32)


def _largest_within(error: Callable[[float], float], target: float, top: float) -> float:
    """An ε of 0 to `top` whose error is at most the target, and within 1% of it where steps are that fine."""
    low, high = _SMALLEST, top
    if error(high) <= target:
        return high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        reached = error(middle)
        if reached > target:
            high = middle
            continue
        low = middle
        if reached >= 0.99 * target:
            break
    return low


def cett_sparsity(
    neurons: Float[np.ndarray, "token neuron"], value_vectors: Float[np.ndarray, "neuron model"], target: float = 0.2
) -> CettSparsity:
    """The share of a layer's neurons that can be dropped while the mean of `cett` over tokens stays at `target`.

    One ε for the whole layer, found by bisection (Zhang et al. 2024, arXiv 2402.03804): the mean is at most the
    target, and within 1% of it where the text is long enough. Neurons that are exactly 0 are always below ε.
    `neurons` enter the down projection; `value_vectors` are its columns, `W_down[:, i]`, one a row here.
    """
    if not 0.0 < target < 1.0:
        raise ValueError(f"the target of CETT must lie between 0 and 1, got {target:g}")
    if not len(neurons):
        raise ValueError("CETT is a mean over tokens and needs at least one, got none")
    whole, _ = _tail(neurons, value_vectors, np.inf)

    def error(threshold: float) -> float:
        dropped, _ = _tail(neurons, value_vectors, threshold)
        return float(_over(dropped, whole, if_zero=0.0).mean(dtype=np.float64))

    largest = np.maximum(neurons.max(axis=0), -neurons.min(axis=0))
    peak = output_norms(largest, vector_norms(value_vectors)).max()
    top = max(float(np.nextafter(np.float64(peak), np.inf)), _SMALLEST)
    threshold = _largest_within(error, target, top)
    _, share = _tail(neurons, value_vectors, threshold)
    return CettSparsity(threshold=threshold, error=error(threshold), share=share)
