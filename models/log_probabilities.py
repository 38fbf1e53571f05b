"""Log-probabilities of next tokens, from logits, and the KL divergence between two of them."""

import numpy as np
from jaxtyping import Float, Float64, Int

_ROWS = 128  # converted to float64 together: a whole window takes a gigabyte where the vocabulary is large


def log_softmax(logits: Float[np.ndarray, "token vocab"]) -> Float64[np.ndarray, "token vocab"]:
    """Natural log-probabilities of each row, in float64."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True)))


def target_log_probabilities(
    logits: Float[np.ndarray, "token vocab"], targets: Int[np.ndarray, " token"]
) -> Float64[np.ndarray, " token"]:
    """Natural log-probability of one target per row: `ln softmax(logits)[target]`, in nats."""
    found = np.empty(len(targets))
    for start in range(0, len(targets), _ROWS):
        rows = slice(start, start + _ROWS)
        found[rows] = np.take_along_axis(log_softmax(logits[rows]), targets[rows, None], axis=1)[:, 0]
    return found


def kl_nats(
    log_p: Float64[np.ndarray, "token vocab"], log_q: Float64[np.ndarray, "token vocab"]
) -> Float64[np.ndarray, " token"]:
    """`KL(p ‖ q) = Σ p · (ln p - ln q)` of each row, in nats; 0 where they are equal (Kullback and Leibler 1951)."""
    return np.asarray(np.maximum(0.0, (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)))
