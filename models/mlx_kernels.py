"""How an MLX decoder computes positions and attention; handed to it, so that it holds no choice itself."""

from typing import Protocol, runtime_checkable

import mlx.core as mx
import numpy as np
from jaxtyping import Bool, Float

from models.rotary import amplitude, inverse_periods, rotary_tables
from models.spec import AttentionWindow, Cap, DecoderSpec, Full, LayerSpec, Rotary, Sliding, SoftCap

STEP = 256
"""Buffers grow by this many tokens: growing copies them, and kernels on GPUs prefer such lengths."""

BLOCK = 64
"""Queries that attend together on a CPU."""


@runtime_checkable
class Kernels(Protocol):
    """Turns heads by position and mixes values by attention."""

    def rotate(
        self, heads: Float[mx.array, "token head head_dim"], rotary: Rotary
    ) -> Float[mx.array, "token head head_dim"]: ...

    def attend(
        self,
        layer: int,
        layer_spec: LayerSpec,
        query: Float[mx.array, "token head head_dim"],
        key: Float[mx.array, "token kv_head head_dim"],
        value: Float[mx.array, "token kv_head head_dim"],
    ) -> Float[mx.array, "token head head_dim"]: ...


@runtime_checkable
class Probe(Protocol):
    """Sees the value of every site pass; returns what the decoder goes on with."""

    def __call__(self, site: str, value: mx.array) -> mx.array: ...


def blind(site: str, value: mx.array) -> mx.array:
    """The probe that watches nothing. Timed runs use this one."""
    return value


def _seen(start: int, first: int, end: int, window: AttentionWindow) -> mx.array:
    """Which of the keys `start` to `end` the queries `first` to `end` may read."""
    positions, past = mx.arange(first, end)[:, None], mx.arange(start, end)[None]
    ahead = past <= positions
    return ahead & (past > positions - window.tokens) if isinstance(window, Sliding) else ahead


def _mask(start: int, first: int, end: int, window: AttentionWindow) -> mx.array | str | None:
    """The same, in the form that costs least."""
    if end - first == 1:
        return None
    if isinstance(window, Full) or end - start <= window.tokens:
        return "causal"
    return _seen(start, first, end, window)


def bound(cap: Cap, x: Float[mx.array, "..."]) -> Float[mx.array, "..."]:
    """Keeps scores or logits within a limit, where there is one."""
    return cap.limit * mx.tanh(x / cap.limit) if isinstance(cap, SoftCap) else x


def capped(
    query: Float[mx.array, "head token head_dim"],
    key: Float[mx.array, "kv_head past head_dim"],
    value: Float[mx.array, "kv_head past head_dim"],
    seen: Bool[mx.array, "token past"],
    scale: float,
    cap: Cap,
) -> Float[mx.array, "head token head_dim"]:
    """Attention whose scaled scores are bounded; MLX's own has no bound."""
    sharing = len(query) // len(key)
    key, value = mx.repeat(key, sharing, axis=0), mx.repeat(value, sharing, axis=0)
    score = bound(cap, scale * (query @ key.swapaxes(-1, -2)))
    return mx.softmax(mx.where(seen, score, -mx.inf), axis=-1) @ value


class Cached:
    """Attention over all tokens fed so far, whose keys and values stay in buffers of fixed capacity.

    Attributes:
        fed: Tokens whose keys and values the buffers hold.
        positions: Positions of the pass under way.
    """

    def __init__(self, spec: DecoderSpec, kind: mx.Dtype = mx.float32) -> None:
        self.spec, self.kind, self.fed = spec, kind, 0
        self.positions = mx.arange(0)
        empty = (1, spec.n_kv_heads, 0, spec.head_dim)
        self.keys = [mx.zeros(empty, kind) for _ in spec.layers]
        self.values = [mx.zeros(empty, kind) for _ in spec.layers]
        self._periods: dict[Rotary, mx.array] = {}

    @property
    def capacity(self) -> int:
        """Tokens the buffers have room for."""
        return int(self.keys[0].shape[2])

    def grow(self, capacity: int) -> None:
        """Makes room for `capacity` tokens at least, in whole steps; what is held stays."""
        whole_steps = -(-capacity // STEP) * STEP
        more = (1, self.spec.n_kv_heads, whole_steps - self.capacity, self.spec.head_dim)
        self.keys = [mx.concatenate([held, mx.zeros(more, self.kind)], axis=2) for held in self.keys]
        self.values = [mx.concatenate([held, mx.zeros(more, self.kind)], axis=2) for held in self.values]
        mx.eval(self.keys, self.values)

    def begin(self, tokens: int) -> None:
        """Announces a pass over the next `tokens` tokens."""
        self.positions = mx.arange(self.fed, self.fed + tokens)

    def finish(self) -> None:
        """Ends the pass: its tokens count as fed."""
        self.fed += len(self.positions)

    def rotate(self, heads: mx.array, rotary: Rotary) -> mx.array:
        if rotary not in self._periods:
            self._periods[rotary] = mx.array(1.0 / inverse_periods(rotary))
        turned = mx.fast.rope(
            heads.swapaxes(0, 1)[None],
            rotary.features,
            traditional=False,
            base=None,
            scale=1.0,
            offset=self.fed,
            freqs=self._periods[rotary],
        )
        turned = turned[0].swapaxes(0, 1)
        if (factor := amplitude(rotary)) == 1.0:
            return turned
        still = turned[..., rotary.features :]
        return mx.concatenate([factor * turned[..., : rotary.features], still], axis=-1)

    def attend(self, layer: int, layer_spec: LayerSpec, query: mx.array, key: mx.array, value: mx.array) -> mx.array:
        end = self.fed + len(query)
        self.keys[layer][0, :, self.fed : end] = key.swapaxes(0, 1)
        self.values[layer][0, :, self.fed : end] = value.swapaxes(0, 1)
        return self.mix(layer, layer_spec, query, self.fed)

    def mix(self, layer: int, layer_spec: LayerSpec, query: mx.array, first: int) -> mx.array:
        """What the queries at positions from `first` on read from the buffers."""
        window, end = layer_spec.window, first + len(query)
        start = max(0, first + 1 - window.tokens) if isinstance(window, Sliding) else 0
        heads = query.swapaxes(0, 1)
        keys, values = self.keys[layer][:, :, start:end], self.values[layer][:, :, start:end]
        if isinstance(layer_spec.score_cap, SoftCap):
            seen = _seen(start, first, end, window)
            return capped(heads, keys[0], values[0], seen, self.spec.scale, layer_spec.score_cap).swapaxes(0, 1)
        mask = _mask(start, first, end, window)
        mixed = mx.fast.scaled_dot_product_attention(heads[None], keys, values, scale=self.spec.scale, mask=mask)
        return mixed[0].swapaxes(0, 1)


class CachedOnCpu(Cached):
    """The same for a CPU, where each small operation has its price and a masked score costs as much as any other.

    Heads turn by tables made once, since `mx.fast.rope` is a dozen operations there. Queries attend
    in blocks, each reading no keys later than its own.
    """

    def __init__(self, spec: DecoderSpec, kind: mx.Dtype = mx.float32) -> None:
        super().__init__(spec, kind)
        self._tables: dict[Rotary, tuple[mx.array, mx.array]] = {}

    def grow(self, capacity: int) -> None:
        super().grow(capacity)
        for layer in self.spec.layers:
            if isinstance(layer.position, Rotary):
                cos, sin = rotary_tables(layer.position, self.capacity)
                still = np.ones((self.capacity, self.spec.head_dim - layer.position.features), np.float32)
                self._tables[layer.position] = (
                    mx.array(np.concatenate([cos, cos, still], axis=1)[:, None]).astype(self.kind),
                    mx.array(np.concatenate([-sin, sin, 0 * still], axis=1)[:, None]).astype(self.kind),
                )

    def rotate(self, heads: mx.array, rotary: Rotary) -> mx.array:
        cos, sin = (table[self.fed : self.fed + len(heads)] for table in self._tables[rotary])
        half, features = rotary.features // 2, rotary.features
        swapped = [heads[..., half:features], heads[..., :half]]
        still = [heads[..., features:]] if features < self.spec.head_dim else []
        return heads * cos + mx.concatenate(swapped + still, axis=-1) * sin

    def mix(self, layer: int, layer_spec: LayerSpec, query: mx.array, first: int) -> mx.array:
        whole = super().mix
        if len(query) <= BLOCK:
            return whole(layer, layer_spec, query, first)
        blocks = range(0, len(query), BLOCK)
        return mx.concatenate([whole(layer, layer_spec, query[at : at + BLOCK], first + at) for at in blocks])
