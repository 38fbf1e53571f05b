"""The attention pattern of one head, from its queries and keys: the definition that engines are checked against."""

import numpy as np
from jaxtyping import Bool, Float, Float32

from models.spec import AttentionWindow, Cap, Full, NoCap, Sliding, SoftCap

_UNCAPPED = NoCap()


def visible_keys(tokens: int, past: int, window: AttentionWindow) -> Bool[np.ndarray, "token past"]:
    """Which keys each of the last `tokens` positions may read: itself and earlier ones, within the attention window."""
    position = np.arange(past - tokens, past)[:, None]
    key = np.arange(past)[None, :]
    match window:
        case Full():
            return key <= position
        case Sliding(span):
            return (key <= position) & (key > position - span)


def attention_pattern(
    query: Float[np.ndarray, "token head_dim"],
    key: Float[np.ndarray, "past head_dim"],
    scale: float,
    window: AttentionWindow,
    cap: Cap = _UNCAPPED,
    sink: float | None = None,
) -> Float32[np.ndarray, "token past"]:
    """The attention weights of one head; rows sum to 1, or to less with a sink, and masked keys are exactly 0.

    `softmax(query · keyᵀ · scale)` over the visible keys (Vaswani et al. 2017, section 3.2.1), with the layer's soft
    cap on the scaled scores. A sink adds its logit to the softmax, and its weight is dropped. The queries are the last
    tokens: row `i` is at position `past - token + i`. The result is always float32.
    """
    tokens, past = len(query), len(key)
    if tokens > past:
        raise ValueError(f"{tokens} queries and {past} keys; there must be at least one key per query")
    score = query.astype(np.float32) @ key.astype(np.float32).T
    score *= np.float32(scale)
    if isinstance(cap, SoftCap):
        score = np.float32(cap.limit) * np.tanh(score / np.float32(cap.limit))
    score[~visible_keys(tokens, past, window)] = -np.inf
    largest = score.max(axis=-1, keepdims=True)
    largest = largest if sink is None else np.maximum(largest, np.float32(sink))
    score -= largest
    weight = np.exp(score, out=score)
    total = weight.sum(axis=-1, keepdims=True)
    weight /= total if sink is None else total + np.exp(np.float32(sink) - largest)
    return np.asarray(weight, np.float32)
