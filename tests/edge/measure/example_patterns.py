"""Patterns that tests of measures share."""

import numpy as np


def causal(seed: int, tokens: int, heads: int = 3) -> np.ndarray:
    """Random heads, uneven, each token reading itself and earlier ones."""
    weight = np.tril(np.random.default_rng(seed).gamma(0.4, size=(heads, tokens, tokens)) + 1e-9)
    return np.asarray(weight / weight.sum(axis=-1, keepdims=True), np.float32)


def previous(tokens: int) -> np.ndarray:
    """A head that attends to the previous token; the first attends to itself."""
    pattern = np.eye(tokens, k=-1, dtype=np.float32)
    pattern[0, 0] = 1
    return pattern
