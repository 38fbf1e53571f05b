"""What the MLX decoder calls for rotation, attention, experts and states, and attention with caps and sinks."""

from typing import Protocol, runtime_checkable

import mlx.core as mx
from jaxtyping import Bool, Float, Int

from models.spec import (
    Attention,
    AttentionWindow,
    Cap,
    Full,
    Rotary,
    Sliding,
    SoftCap,
)
from models.sublayers.states import Fixed, Rolling


@runtime_checkable
class Probe(Protocol):
    """Called with the value of every site; returns the value with which the decoder continues.

    `rows` are the rows of an edit that belong to each token, if an edit has other axes than the value: for neurons of
    chosen experts, the experts.
    """

    def __call__(self, site: str, value: mx.array, rows: Int[mx.array, "token slot"] | None = None) -> mx.array: ...


@runtime_checkable
class Experts(Protocol):
    """Experts, computed in two ways."""

    def gathered(self, x: mx.array, given: mx.array, chosen: mx.array, see: Probe) -> mx.array: ...

    def one_by_one(self, x: mx.array, given: mx.array, chosen: mx.array, see: Probe) -> mx.array: ...


@runtime_checkable
class Kernels(Protocol):
    """Rotates heads by position and computes attention.

    Attributes:
        positions: Positions of the tokens of this pass.
    """

    positions: Int[mx.array, " token"]

    def rotate(
        self, heads: Float[mx.array, "token head head_dim"], rotary: Rotary
    ) -> Float[mx.array, "token head head_dim"]: ...

    def attend(
        self,
        layer: int,
        attention: Attention,
        query: Float[mx.array, "token head head_dim"],
        key: Float[mx.array, "token kv_head head_dim"],
        value: Float[mx.array, "token kv_head head_dim"],
        sinks: Float[mx.array, " head"] | None,
    ) -> Float[mx.array, "token head head_dim"]: ...

    def mix_experts(
        self,
        experts: Experts,
        x: Float[mx.array, "token model"],
        given: Float[mx.array, "token expert"],
        chosen: Int[mx.array, "token slot"],
        see: Probe,
    ) -> Float[mx.array, "token model"]:
        """The weighted sum of the outputs of the chosen experts."""

    def recall(self, layer: int, name: str, state: Rolling | Fixed) -> mx.array:
        """A state of one layer before this pass; zeros before the first token."""

    def keep(self, layer: int, name: str, value: mx.array) -> None:
        """Sets a state of one layer after this pass."""


def blind(site: str, value: mx.array, rows: Int[mx.array, "token slot"] | None = None) -> mx.array:
    """The probe that does nothing, for timed runs."""
    return value


def allowed(start: int, first: int, end: int, window: AttentionWindow) -> mx.array:
    """Which of the keys `start` to `end` the queries `first` to `end` can attend to."""
    positions, past = mx.arange(first, end)[:, None], mx.arange(start, end)[None]
    causal = past <= positions
    return causal & (past > positions - window.tokens) if isinstance(window, Sliding) else causal


def kernel_mask(start: int, first: int, end: int, window: AttentionWindow) -> mx.array | str | None:
    """The same mask in the cheapest form."""
    if end - first == 1:
        return None
    if isinstance(window, Full) or end - start <= window.tokens:
        return "causal"
    return allowed(start, first, end, window)


def bound(cap: Cap, x: Float[mx.array, "..."]) -> Float[mx.array, "..."]:
    """Applies a soft cap to scores or logits, if there is one."""
    return cap.limit * mx.tanh(x / cap.limit) if isinstance(cap, SoftCap) else x


def capped(
    query: Float[mx.array, "head token head_dim"],
    key: Float[mx.array, "kv_head past head_dim"],
    value: Float[mx.array, "kv_head past head_dim"],
    seen: Bool[mx.array, "token past"],
    scale: float,
    cap: Cap,
    sinks: Float[mx.array, " head"] | None,
) -> Float[mx.array, "head token head_dim"]:
    """Attention with a soft cap on scaled scores, which MLX's own attention lacks."""
    sharing = len(query) // len(key)
    key, value = mx.repeat(key, sharing, axis=0), mx.repeat(value, sharing, axis=0)
    score = bound(cap, scale * (query @ key.swapaxes(-1, -2)))
    score = mx.where(seen, score, -mx.inf)
    if sinks is None:
        return mx.softmax(score, axis=-1) @ value
    sunk = mx.concatenate([score, mx.broadcast_to(sinks[:, None, None], (*score.shape[:-1], 1))], axis=-1)
    return mx.softmax(sunk, axis=-1)[..., :-1] @ value
