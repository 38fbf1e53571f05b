"""Information flow between tokens: weighted values in one head, contributions in one layer, rollout over layers."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

_KEYS = 256  # vectors as wide as the model at a time, in float64
_FLOOR = 1e-5  # of the proximity of a part, so that a sum of them is never 0


@dataclass(frozen=True)
class Contributions:
    """The decomposition of one token's residual stream after attention: shares, 0 to 1, that sum to 1.

    Attributes:
        heads: The share of each head and key.
        residual: The share of the residual stream before attention.
    """

    heads: Float32[np.ndarray, "head past"]
    residual: float


def value_weighted_norms(
    pattern: Float[np.ndarray, "token past"],
    value: Float[np.ndarray, "past head_dim"],
    out: Float[np.ndarray, "head_dim model"],
) -> Float32[np.ndarray, "token past"]:
    """L2 norm of the weighted value of each key: `‖p_ij · v_j · W_O‖₂`, in the unit of the residual stream.

    A large weight on a short value has little effect (Kobayashi et al. 2020, Attention is Not Only a Weight, arXiv
    2004.10102, section 3). `out` has the head's own rows of `W_O`.
    """
    moved = np.linalg.norm(value.astype(np.float64) @ out.astype(np.float64), axis=-1)
    return np.asarray(pattern * moved.astype(np.float32), np.float32)


def contributions(
    weight: Float[np.ndarray, "head past"],
    value: Float[np.ndarray, "past kv_head head_dim"],
    out: Float[np.ndarray, "head head_dim model"],
    residual: Float[np.ndarray, " model"],
    whole: Float[np.ndarray, " model"],
) -> Contributions:
    """The share of each part `a` of one token's vector `w`: `c = max(‖w‖₁ - ‖w - a‖₁, 1e-5)`, over the sum of all c.

    The parts are the contribution of each head and key, `p_j · v_j · W_O`, and the `residual` before; `whole` is the
    residual after attention (Ferrando and Voita 2024, Information Flow Routes, arXiv 2403.00824, section 2.2; ALTI,
    arXiv 2203.04212). `weight` has this token's row of every head's pattern. A key of weight 0 has a share of 0. A
    part that points away from the whole gets the minimum, 1e-5.
    """
    sharing, odd = divmod(len(out), value.shape[1])
    if odd:
        raise ValueError(f"{len(out)} query heads cannot share {value.shape[1]} value heads evenly")
    target = whole.astype(np.float64)
    near = np.stack(
        [_proximity_of_keys(row, value[:, head // sharing], out[head], target) for head, row in enumerate(weight)]
    )
    kept = _proximity(residual.astype(np.float64)[None], target)[0]
    total = near.sum() + kept
    return Contributions(np.asarray(near / total, np.float32), float(kept / total))


def attention_rollout(patterns: Iterable[Float[np.ndarray, "head token past"]]) -> Float32[np.ndarray, "token past"]:
    """Attention rollout: the share of each input token in each output token by attention alone; rows sum to 1.

    `A_L · … · A_1` with `A = (mean_h p + I) / 2`, the half for the residual stream (Abnar and Zuidema 2020,
    Quantifying Attention Flow in Transformers, arXiv 2005.00928, section 3). `patterns` go from the first layer to
    the last: an array (layer, head, token, past), or one layer after the other as they are computed.
    """
    rolled: Float64[np.ndarray, "token past"] | None = None
    for layer, pattern in enumerate(patterns):
        tokens, past = pattern.shape[-2:]
        if tokens != past or (rolled is not None and len(rolled) != tokens):
            expected = tokens if rolled is None else len(rolled)
            raise ValueError(f"layer {layer} has {tokens} queries and {past} keys; a rollout needs {expected} of each")
        mixed = (pattern.mean(axis=0, dtype=np.float64) + np.eye(tokens)) / 2
        rolled = mixed if rolled is None else mixed @ rolled
    if rolled is None:
        raise ValueError("a rollout needs one layer at least, got 0")
    return np.asarray(rolled, np.float32)


def _proximity_of_keys(
    weight: Float[np.ndarray, " past"],
    value: Float[np.ndarray, "past head_dim"],
    out: Float[np.ndarray, "head_dim model"],
    whole: Float64[np.ndarray, " model"],
) -> Float64[np.ndarray, " past"]:
    """The proximity of one head's contribution from each key; 0 for keys with weight 0."""
    near, read, seen = np.zeros(len(weight)), out.astype(np.float64), np.flatnonzero(weight)
    for start in range(0, len(seen), _KEYS):
        keys = seen[start : start + _KEYS]
        brought = weight[keys, None].astype(np.float64) * value[keys]
        near[keys] = _proximity(brought @ read, whole)
    return near


def _proximity(
    parts: Float64[np.ndarray, "part model"], whole: Float64[np.ndarray, " model"]
) -> Float64[np.ndarray, " part"]:
    """The proximity of each part to the whole: `max(‖w‖₁ - ‖w - a‖₁, floor)`."""
    away = np.abs(whole - parts).sum(axis=-1)
    return np.asarray(np.maximum(np.abs(whole).sum() - away, _FLOOR))
