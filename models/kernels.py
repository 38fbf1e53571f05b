"""Rotary positions and attention of the torch decoder, as kernels that are passed to it."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from models.rotary import amplitude, inverse_periods
from models.spec import Attention, AttentionWindow, Cap, DecoderSpec, Full, Rotary, SoftCap
from models.sublayers.states import Fixed, Growing, Mark, Rolling, State, fixed_shape


@runtime_checkable
class Probe(Protocol):
    """Called with the value of every site; returns the value with which the decoder continues.

    `rows` are the rows of an edit that belong to each token, if an edit has other axes than the value: for neurons of
    chosen experts, the experts.
    """

    def __call__(self, site: str, value: Tensor, rows: Int[Tensor, "token slot"] | None = None) -> Tensor: ...


@runtime_checkable
class OneByOne(Protocol):
    """Experts that can be computed one after another."""

    def one_by_one(self, x: Tensor, given: Tensor, chosen: Tensor, see: Probe) -> Tensor: ...


@runtime_checkable
class Kernels(Protocol):
    """Rotates heads by position and computes attention. Exported graphs use other kernels (`export.kernels`).

    Attributes:
        positions: Positions of the tokens of this pass.
    """

    positions: Int[Tensor, "*#batch token"]

    def rotate(
        self, heads: Float[Tensor, "*batch token head head_dim"], rotary: Rotary
    ) -> Float[Tensor, "*batch token head head_dim"]: ...

    def attend(
        self,
        layer: int,
        attention: Attention,
        query: Float[Tensor, "*batch token head head_dim"],
        key: Float[Tensor, "*batch token kv_head head_dim"],
        value: Float[Tensor, "*batch token kv_head head_dim"],
        sinks: Float[Tensor, " head"] | None,
    ) -> Float[Tensor, "*batch token head head_dim"]: ...

    def mix_experts(
        self,
        experts: OneByOne,
        x: Float[Tensor, "token model"],
        given: Float[Tensor, "token expert"],
        chosen: Int[Tensor, "token slot"],
        see: Probe,
    ) -> Float[Tensor, "token model"]:
        """The weighted sum of the outputs of the chosen experts."""

    def recall(self, layer: int, name: str, state: Rolling | Fixed) -> Tensor:
        """A state of one layer before this pass; zeros before the first token."""

    def keep(self, layer: int, name: str, value: Tensor) -> None:
        """Sets a state of one layer after this pass."""


def blind(site: str, value: Tensor, rows: Int[Tensor, "token slot"] | None = None) -> Tensor:
    """The probe that does nothing, for timed runs."""
    return value


def rotate(
    heads: Float[Tensor, "*batch token head head_dim"],
    positions: Int[Tensor, "*#batch token"],
    rotary: Rotary,
) -> Float[Tensor, "*batch token head head_dim"]:
    """Rotates feature i of each head with feature i + features/2, the layout of Hugging Face."""
    periods = torch.from_numpy(inverse_periods(rotary)).to(positions.device)
    angle = (positions[..., None].float() * periods)[..., None, :]
    cos, sin = (amplitude(rotary) * part.to(heads.dtype) for part in (angle.cos(), angle.sin()))
    half, rotated = rotary.features // 2, rotary.features
    first, second, rest = heads[..., :half], heads[..., half:rotated], heads[..., rotated:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], dim=-1)


def visible(
    positions: Int[Tensor, " token"], past: Int[Tensor, " past"], window: AttentionWindow
) -> Bool[Tensor, "token past"]:
    """Which keys each token can attend to: itself and earlier ones within the layer's attention window."""
    causal = past[None, :] <= positions[:, None]
    if isinstance(window, Full):
        return causal
    return causal & (past[None, :] > positions[:, None] - window.tokens)


def bound(cap: Cap, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Applies a soft cap to scores or logits, if there is one."""
    return cap.limit * torch.tanh(x / cap.limit) if isinstance(cap, SoftCap) else x


def capped(
    query: Float[Tensor, "*batch head token head_dim"],
    key: Float[Tensor, "*batch kv_head past head_dim"],
    value: Float[Tensor, "*batch kv_head past head_dim"],
    seen: Bool[Tensor, "*#batch token past"],
    cap: Cap,
    sinks: Float[Tensor, " head"] | None,
) -> Float[Tensor, "*batch head token head_dim"]:
    """Attention with a soft cap on scaled scores, or with sinks, which torch's own attention lacks."""
    sharing = query.shape[-3] // key.shape[-3]
    key, value = key.repeat_interleave(sharing, -3), value.repeat_interleave(sharing, -3)
    score = bound(cap, query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5)
    score = score.masked_fill(~seen, float("-inf"))
    if sinks is None:
        return torch.softmax(score, dim=-1) @ value
    sunk = torch.cat([score, sinks[:, None, None].expand(*score.shape[:-1], 1)], dim=-1)
    return torch.softmax(sunk, dim=-1)[..., :-1] @ value


class FullPass:
    """Attention over the tokens of one pass, without a cache: for training and teacher forcing."""

    def __init__(self, length: int, device: torch.device | None = None) -> None:
        self.positions = torch.arange(length, device=device)

    def rotate(self, heads: Tensor, rotary: Rotary) -> Tensor:
        return rotate(heads, self.positions, rotary)

    def attend(
        self, layer: int, attention: Attention, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None
    ) -> Tensor:
        full = isinstance(attention.window, Full)
        if isinstance(attention.score_cap, SoftCap) or sinks is not None:
            seen = visible(self.positions, self.positions, attention.window)
            query, key, value = (side.transpose(-3, -2) for side in (query, key, value))
            return capped(query, key, value, seen, attention.score_cap, sinks).transpose(-3, -2)
        mixed = F.scaled_dot_product_attention(
            query.transpose(-3, -2),
            key.transpose(-3, -2),
            value.transpose(-3, -2),
            attn_mask=None if full else visible(self.positions, self.positions, attention.window),
            is_causal=full,
            enable_gqa=query.shape[-2] != key.shape[-2],
        )
        return mixed.transpose(-3, -2)

    def mix_experts(self, experts: OneByOne, x: Tensor, given: Tensor, chosen: Tensor, see: Probe) -> Tensor:
        return experts.one_by_one(x, given, chosen, see)

    def recall(self, layer: int, name: str, state: Rolling | Fixed) -> Tensor:
        return torch.zeros(fixed_shape(state), device=self.positions.device)

    def keep(self, layer: int, name: str, value: Tensor) -> None:
        """Nothing: there is no later pass."""


class Cached:
    """The states of all mixers over all tokens fed so far, with buffers of fixed capacity for those that grow.

    Attributes:
        fed: Number of tokens in the cache.
        capacity: Maximum number of tokens in the cache.
    """

    def __init__(self, spec: DecoderSpec, capacity: int, dtype: torch.dtype = torch.float32) -> None:
        self.fed, self.capacity, self._text = 0, capacity, 0
        self.positions = torch.arange(0)
        self._kinds = [layer.mixer.states() for layer in spec.layers]
        self._states = [
            {name: torch.zeros(_buffer_shape(state, capacity), dtype=dtype) for name, state in kinds.items()}
            for kinds in self._kinds
        ]

    def grow(self, capacity: int) -> None:
        """Grows the cache to `capacity` tokens and keeps its content."""
        for kinds, states in zip(self._kinds, self._states, strict=True):
            for name, state in kinds.items():
                if isinstance(state, Growing):
                    more = (state.heads, capacity - self.capacity, state.features)
                    states[name] = torch.cat([states[name], states[name].new_zeros(more)], dim=1)
        self.capacity = capacity

    def begin(self, tokens: int) -> None:
        """Starts a pass over the next `tokens` tokens."""
        self.positions = torch.arange(self.fed, self.fed + tokens)

    def finish(self) -> None:
        """Ends the pass: its tokens count as fed."""
        self.fed += len(self.positions)

    def clear(self) -> None:
        """Begins a new text."""
        self.fed, self._text = 0, self._text + 1
        for state in self._fixed().values():
            state.zero_()

    def mark(self) -> Mark[Tensor]:
        """The place after the last token."""
        return Mark(self._text, self.fed, {key: state.clone() for key, state in self._fixed().items()})

    def restore(self, mark: Mark[Tensor]) -> None:
        """Goes back to a place of the same text."""
        assert mark.text == self._text, "the mark is of another text"
        self.fed = mark.fed
        for key, state in self._fixed().items():
            state.copy_(mark.kept[key])

    def _fixed(self) -> dict[tuple[int, str], Tensor]:
        """The states that do not grow, by layer and name."""
        return {
            (layer, name): self._states[layer][name]
            for layer, kinds in enumerate(self._kinds)
            for name, state in kinds.items()
            if not isinstance(state, Growing)
        }

    def mix_experts(self, experts: OneByOne, x: Tensor, given: Tensor, chosen: Tensor, see: Probe) -> Tensor:
        return experts.one_by_one(x, given, chosen, see)

    def recall(self, layer: int, name: str, state: Rolling | Fixed) -> Tensor:
        return self._states[layer][name].clone()

    def keep(self, layer: int, name: str, value: Tensor) -> None:
        self._states[layer][name].copy_(value)

    def rotate(self, heads: Tensor, rotary: Rotary) -> Tensor:
        return rotate(heads, self.positions, rotary)

    def attend(
        self, layer: int, attention: Attention, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None
    ) -> Tensor:
        end = self.fed + len(self.positions)
        kept = self._states[layer]
        kept["key"][:, self.fed : end], kept["value"][:, self.fed : end] = key.transpose(0, 1), value.transpose(0, 1)
        seen = visible(self.positions, torch.arange(end), attention.window)
        keys, values = kept["key"][:, :end], kept["value"][:, :end]
        if isinstance(attention.score_cap, SoftCap) or sinks is not None:
            return capped(query.transpose(0, 1), keys, values, seen, attention.score_cap, sinks).transpose(0, 1)
        mixed = F.scaled_dot_product_attention(
            query.transpose(0, 1)[None],
            keys[None],
            values[None],
            attn_mask=seen,
            enable_gqa=query.shape[-2] != key.shape[-2],
        )
        return mixed[0].transpose(0, 1)


def _buffer_shape(state: State, capacity: int) -> tuple[int, ...]:
    return (state.heads, capacity, state.features) if isinstance(state, Growing) else fixed_shape(state)
