"""Kernels of the MLX decoder with the states of all tokens fed so far, on a GPU and on a CPU."""

import mlx.core as mx
import numpy as np

from models.mlx_kernels import Experts, Probe, allowed, capped, kernel_mask
from models.rotary import amplitude, inverse_periods, rotary_tables
from models.spec import (
    Attention,
    DecoderSpec,
    Rotary,
    Sliding,
    SoftCap,
)
from models.sublayers.states import Fixed, Growing, Mark, Rolling, fixed_shape

STEP = 256
"""Tokens by which buffers grow: growing copies them, and GPU kernels prefer such lengths."""

FEW_TOKENS = 3
"""Tokens from which on experts are computed one by one on a CPU, where gathered products run row by row."""

BLOCK = 64
"""Queries per block of attention on a CPU."""


class Cached:
    """The states of all mixers over all tokens fed so far, with buffers of fixed capacity for those that grow.

    Attributes:
        fed: Number of tokens in the buffers.
        capacity: Maximum number of tokens in the buffers.
        positions: Positions of the current pass.
        fixed: The states that do not grow, by layer and name. A pass replaces them.
    """

    def __init__(self, spec: DecoderSpec, kind: mx.Dtype = mx.float32) -> None:
        self.spec, self.kind, self.fed, self.capacity = spec, kind, 0, 0
        self.positions, self._text = mx.arange(0), 0
        self._growing: list[dict[str, mx.array]] = []
        self.fixed: dict[tuple[int, str], mx.array] = {}
        for index, layer in enumerate(spec.layers):
            states = layer.mixer.states()
            growing = {name: state for name, state in states.items() if isinstance(state, Growing)}
            empty = {name: (1, state.heads, 0, state.features) for name, state in growing.items()}
            self._growing.append({name: mx.zeros(shape, kind) for name, shape in empty.items()})
            self.fixed |= {
                (index, name): mx.zeros(fixed_shape(state))
                for name, state in states.items()
                if not isinstance(state, Growing)
            }
        self._periods: dict[Rotary, mx.array] = {}

    def grow(self, capacity: int) -> None:
        """Grows the buffers to at least `capacity` tokens, in whole steps, and keeps their content."""
        whole_steps = -(-capacity // STEP) * STEP
        for buffers in self._growing:
            for name, buffer in buffers.items():
                more = (1, buffer.shape[1], whole_steps - self.capacity, buffer.shape[3])
                buffers[name] = mx.concatenate([buffer, mx.zeros(more, self.kind)], axis=2)
        self.capacity = whole_steps
        mx.eval(self._growing)

    def begin(self, tokens: int) -> None:
        """Starts a pass over the next `tokens` tokens."""
        self.positions = mx.arange(self.fed, self.fed + tokens)

    def finish(self) -> None:
        """Ends the pass: its tokens count as fed."""
        mx.eval(self.fixed)
        self.fed += len(self.positions)

    def clear(self) -> None:
        """Begins a new text."""
        self.fed, self._text = 0, self._text + 1
        self.fixed = {key: mx.zeros_like(state) for key, state in self.fixed.items()}

    def mark(self) -> Mark[mx.array]:
        """The place after the last token."""
        return Mark(self._text, self.fed, dict(self.fixed))

    def restore(self, mark: Mark[mx.array]) -> None:
        """Goes back to a place of the same text."""
        assert mark.text == self._text, "the mark is of another text"
        self.fed, self.fixed = mark.fed, dict(mark.kept)

    def mix_experts(self, experts: Experts, x: mx.array, given: mx.array, chosen: mx.array, see: Probe) -> mx.array:
        return experts.gathered(x, given, chosen, see)

    def recall(self, layer: int, name: str, state: Rolling | Fixed) -> mx.array:
        return self.fixed[layer, name]

    def keep(self, layer: int, name: str, value: mx.array) -> None:
        self.fixed[layer, name] = value

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

    def attend(
        self,
        layer: int,
        attention: Attention,
        query: mx.array,
        key: mx.array,
        value: mx.array,
        sinks: mx.array | None,
    ) -> mx.array:
        end = self.fed + len(query)
        self._growing[layer]["key"][0, :, self.fed : end] = key.swapaxes(0, 1)
        self._growing[layer]["value"][0, :, self.fed : end] = value.swapaxes(0, 1)
        return self.mix(layer, attention, query, sinks, self.fed)

    def mix(self, layer: int, attention: Attention, query: mx.array, sinks: mx.array | None, first: int) -> mx.array:
        """Attention outputs of the queries at positions from `first` on."""
        window, end = attention.window, first + len(query)
        start = max(0, first + 1 - window.tokens) if isinstance(window, Sliding) else 0
        heads = query.swapaxes(0, 1)
        keys, values = (self._growing[layer][name][:, :, start:end] for name in ("key", "value"))
        if isinstance(attention.score_cap, SoftCap):
            mask = allowed(start, first, end, window)
            return capped(heads, keys[0], values[0], mask, attention.scale, attention.score_cap, sinks).swapaxes(0, 1)
        fastest = kernel_mask(start, first, end, window)
        mixed = mx.fast.scaled_dot_product_attention(
            heads[None], keys, values, scale=attention.scale, mask=fastest, sinks=sinks
        )
        return mixed[0].swapaxes(0, 1)


class CachedOnCpu(Cached):
    """The same for a CPU, where small operations are expensive and masked scores cost as much as others.

    Heads are rotated with precomputed tables, because `mx.fast.rope` runs about 12 operations on a CPU. Queries are
    computed in blocks, each with only the keys up to its own positions.
    """

    def __init__(self, spec: DecoderSpec, kind: mx.Dtype = mx.float32) -> None:
        super().__init__(spec, kind)
        self._rotaries = {one.position for one in spec.attentions if isinstance(one.position, Rotary)}
        self._tables: dict[Rotary, tuple[mx.array, mx.array]] = {}

    def grow(self, capacity: int) -> None:
        super().grow(capacity)
        for kind in self._rotaries:
            cos, sin = rotary_tables(kind, self.capacity)
            self._tables[kind] = (
                mx.array(np.concatenate([cos, cos], axis=1)[:, None]).astype(self.kind),
                mx.array(np.concatenate([-sin, sin], axis=1)[:, None]).astype(self.kind),
            )

    def rotate(self, heads: mx.array, rotary: Rotary) -> mx.array:
        cos, sin = (table[self.fed : self.fed + len(heads)] for table in self._tables[rotary])
        half, features = rotary.features // 2, rotary.features
        turned, rest = heads[..., :features], heads[..., features:]
        swapped = mx.concatenate([turned[..., half:], turned[..., :half]], axis=-1)
        rotated = turned * cos + swapped * sin
        return mx.concatenate([rotated, rest], axis=-1) if rest.shape[-1] else rotated

    def mix(self, layer: int, attention: Attention, query: mx.array, sinks: mx.array | None, first: int) -> mx.array:
        whole = super().mix
        if len(query) <= BLOCK:
            return whole(layer, attention, query, sinks, first)
        blocks = range(0, len(query), BLOCK)
        return mx.concatenate([whole(layer, attention, query[at : at + BLOCK], sinks, first + at) for at in blocks])

    def mix_experts(self, experts: Experts, x: mx.array, given: mx.array, chosen: mx.array, see: Probe) -> mx.array:
        few = len(x) < FEW_TOKENS
        return (experts.gathered if few else experts.one_by_one)(x, given, chosen, see)
