"""Rotary positions and attention of the MLX decoder, as kernels that are passed to it."""

from typing import Protocol, runtime_checkable

import mlx.core as mx
import numpy as np
from jaxtyping import Bool, Float

from models.rotary import amplitude, inverse_periods, rotary_tables
from models.spec import AttentionWindow, Cap, DecoderSpec, Full, LayerSpec, Rotary, Sliding, SoftCap

STEP = 256
"""Tokens by which buffers grow: growing copies them, and GPU kernels prefer such lengths."""

BLOCK = 64
"""Queries per block of attention on a CPU."""


@runtime_checkable
class Kernels(Protocol):
    """Rotates heads by position and computes attention."""

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
    """Called with the value of every site; returns the value with which the decoder continues."""

    def __call__(self, site: str, value: mx.array) -> mx.array: ...


def blind(site: str, value: mx.array) -> mx.array:
    """The probe that does nothing, for timed runs."""
    return value


def _allowed(start: int, first: int, end: int, window: AttentionWindow) -> mx.array:
    """Which of the keys `start` to `end` the queries `first` to `end` can attend to."""
    positions, past = mx.arange(first, end)[:, None], mx.arange(start, end)[None]
    causal = past <= positions
    return causal & (past > positions - window.tokens) if isinstance(window, Sliding) else causal


def _mask(start: int, first: int, end: int, window: AttentionWindow) -> mx.array | str | None:
    """The same mask in the cheapest form."""
    if end - first == 1:
        return None
    if isinstance(window, Full) or end - start <= window.tokens:
        return "causal"
    return _allowed(start, first, end, window)


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
) -> Float[mx.array, "head token head_dim"]:
    """Attention with a soft cap on scaled scores, which MLX's own attention lacks."""
    sharing = len(query) // len(key)
    key, value = mx.repeat(key, sharing, axis=0), mx.repeat(value, sharing, axis=0)
    score = bound(cap, scale * (query @ key.swapaxes(-1, -2)))
    return mx.softmax(mx.where(seen, score, -mx.inf), axis=-1) @ value


class Cached:
    """Attention over all tokens fed so far, with keys and values in buffers of fixed capacity.

    Attributes:
        fed: Number of tokens in the buffers.
        positions: Positions of the current pass.
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
        """Maximum number of tokens in the buffers."""
        return int(self.keys[0].shape[2])

    def grow(self, capacity: int) -> None:
        """Grows the buffers to at least `capacity` tokens, in whole steps, and keeps their content."""
        whole_steps = -(-capacity // STEP) * STEP
        more = (1, self.spec.n_kv_heads, whole_steps - self.capacity, self.spec.head_dim)
        self.keys = [mx.concatenate([keys, mx.zeros(more, self.kind)], axis=2) for keys in self.keys]
        self.values = [mx.concatenate([values, mx.zeros(more, self.kind)], axis=2) for values in self.values]
        mx.eval(self.keys, self.values)

    def begin(self, tokens: int) -> None:
        """Starts a pass over the next `tokens` tokens."""
        self.positions = mx.arange(self.fed, self.fed + tokens)

    def finish(self) -> None:
        """Ends the pass: its tokens count as fed."""
        self.fed += len(self.positions)

    def rotate(self, heads: mx.array, rotary: Rotary) -> mx.array:
        if rotary not in self._periods:
            self._periods[rotary] = mx.array(1.0 / inverse_periods(rotary))
        rotated = mx.fast.rope(
            heads.swapaxes(0, 1)[None],
            rotary.features,
            traditional=False,
            base=None,
            scale=1.0,
            offset=self.fed,
            freqs=self._periods[rotary],
        )
        rotated = rotated[0].swapaxes(0, 1)
        if (factor := amplitude(rotary)) == 1.0:
            return rotated
        rest = rotated[..., rotary.features :]
        return mx.concatenate([factor * rotated[..., : rotary.features], rest], axis=-1)

    def attend(self, layer: int, layer_spec: LayerSpec, query: mx.array, key: mx.array, value: mx.array) -> mx.array:
        end = self.fed + len(query)
        self.keys[layer][0, :, self.fed : end] = key.swapaxes(0, 1)
        self.values[layer][0, :, self.fed : end] = value.swapaxes(0, 1)
        return self.mix(layer, layer_spec, query, self.fed)

    def mix(self, layer: int, layer_spec: LayerSpec, query: mx.array, first: int) -> mx.array:
        """Attention outputs of the queries at positions from `first` on."""
        window, end = layer_spec.window, first + len(query)
        start = max(0, first + 1 - window.tokens) if isinstance(window, Sliding) else 0
        heads = query.swapaxes(0, 1)
        keys, values = self.keys[layer][:, :, start:end], self.values[layer][:, :, start:end]
        if isinstance(layer_spec.score_cap, SoftCap):
            mask = _allowed(start, first, end, window)
            return capped(heads, keys[0], values[0], mask, self.spec.scale, layer_spec.score_cap).swapaxes(0, 1)
        kernel_mask = _mask(start, first, end, window)
        mixed = mx.fast.scaled_dot_product_attention(heads[None], keys, values, scale=self.spec.scale, mask=kernel_mask)
        return mixed[0].swapaxes(0, 1)


class CachedOnCpu(Cached):
    """The same for a CPU, where small operations are expensive and masked scores cost as much as others.

    Heads are rotated with precomputed tables, because `mx.fast.rope` runs about 12 operations on a CPU. Queries are
    computed in blocks, each with only the keys up to its own positions.
    """

    def __init__(self, spec: DecoderSpec, kind: mx.Dtype = mx.float32) -> None:
        super().__init__(spec, kind)
        self._tables: dict[Rotary, tuple[mx.array, mx.array]] = {}

    def grow(self, capacity: int) -> None:
        super().grow(capacity)
        for layer in self.spec.layers:
            if isinstance(layer.position, Rotary):
                cos, sin = rotary_tables(layer.position, self.capacity)
                rest = np.ones((self.capacity, self.spec.head_dim - layer.position.features), np.float32)
                self._tables[layer.position] = (
                    mx.array(np.concatenate([cos, cos, rest], axis=1)[:, None]).astype(self.kind),
                    mx.array(np.concatenate([-sin, sin, 0 * rest], axis=1)[:, None]).astype(self.kind),
                )

    def rotate(self, heads: mx.array, rotary: Rotary) -> mx.array:
        cos, sin = (table[self.fed : self.fed + len(heads)] for table in self._tables[rotary])
        half, features = rotary.features // 2, rotary.features
        swapped = [heads[..., half:features], heads[..., :half]]
        rest = [heads[..., features:]] if features < self.spec.head_dim else []
        return heads * cos + mx.concatenate(swapped + rest, axis=-1) * sin

    def mix(self, layer: int, layer_spec: LayerSpec, query: mx.array, first: int) -> mx.array:
        whole = super().mix
        if len(query) <= BLOCK:
            return whole(layer, layer_spec, query, first)
        blocks = range(0, len(query), BLOCK)
        return mx.concatenate([whole(layer, layer_spec, query[at : at + BLOCK], first + at) for at in blocks])
