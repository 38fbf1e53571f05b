"""How much of a vector is silent. Definitions differ and do not compare: always print which one."""

import numpy as np
from jaxtyping import Float, Float32


def exact_zero_share(a: Float[np.ndarray, "*token neuron"]) -> Float32[np.ndarray, "*token"]:
    """`mean(a == 0)` over neurons: a share, 0 (all fire) to 1 (all silent).

    One less the share of nonzero entries of Li et al. 2022 (The Lazy Neuron Phenomenon, arXiv 2210.06313).
    Tells something of ReLU alone: GELU and SiLU are exactly 0 only where float32 rounds them so.
    """
    return np.asarray(np.mean(a == 0, axis=-1), np.float32)


def top_p_sparsity(a: Float[np.ndarray, "*token neuron"], p: float = 0.9) -> Float32[np.ndarray, "*token"]:
    """The share of neurons that can be dropped while the others keep `p` of `Σ|a|`: 0 to below 1, or 1 if all are 0.

    `1 - k / n` with k the fewest entries whose magnitudes sum to `p · ‖a‖₁` (Szatkowski et al. 2025,
    arXiv 2509.00454). Unchanged when `a` is scaled, so activations of any kind compare.
    """
    if not 0.0 < p <= 1.0:
        raise ValueError(f"top-p needs a share p with 0 < p <= 1, got {p:g}")
    magnitude = np.abs(a.astype(np.float64))
    peak = magnitude.max(axis=-1, keepdims=True)
    magnitude /= np.where(peak > 0, peak, 1.0)
    kept = np.cumsum(-np.sort(-magnitude, axis=-1), axis=-1)
    reached = kept >= p * kept[..., -1:]
    needed = np.where(kept[..., -1] > 0, np.argmax(reached, axis=-1) + 1, 0)
    return np.asarray(1.0 - needed / a.shape[-1], np.float32)
