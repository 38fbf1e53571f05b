"""Attention and rotary positions as ONNX operators, for tracing a decoder.

    Portable        standard operators; new keys and values are concatenated to the past ones
    Served          the grouped-query operator on the buffers of onnxruntime-genai, for a batch of texts
    Buffered        keys and values in buffers of fixed capacity, written in place:
        Standard        standard operators, for head sizes that the grouped-query operator does not support
        GroupedQuery    com.microsoft::GroupQueryAttention on heads that are already rotated
        FusedRotary     the same, with rotation inside the operator

They are only traced: `torch.onnx.ops` records the operator and computes nothing.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int, Int32
from torch import Tensor
from torch.onnx import ops

from export.expert_kernels import ExpertKernel
from export.layout import groups_queries
from export.names import OPSET, SCATTER_OPSET
from export.rotation import Heads, Table, Tables, rotates_inside
from models.kernels import OneByOne, Probe, capped
from models.spec import Attention, AttentionWindow, DecoderSpec, Full, Rotary, SoftCap
from models.sublayers.states import Fixed, Rolling

Buffer = Float[Tensor, "batch kv_head past head_dim"]
Past = list[tuple[Tensor, ...]]
"""The states of each layer, in the order in which its mixer lists them."""


class States:
    """The states of every layer before and after the traced pass."""

    def __init__(self, spec: DecoderSpec, past: Past) -> None:
        self._names = [list(layer.mixer.states()) for layer in spec.layers]
        self._before = [dict(zip(names, values, strict=True)) for names, values in zip(self._names, past, strict=True)]
        self._after: list[dict[str, Tensor]] = [{} for _ in spec.layers]

    def before(self, layer: int, name: str) -> Tensor:
        """A state of one layer before the pass."""
        return self._before[layer][name]

    def keep(self, layer: int, **values: Tensor) -> None:
        """Sets states of one layer after the pass."""
        self._after[layer] |= values

    @property
    def present(self) -> Past:
        """All states after the pass."""
        return [tuple(after[name] for name in names) for names, after in zip(self._names, self._after, strict=True)]


class _Kernels(ABC):
    """What all kernels share: states by name, and a way to compute experts.

    Attributes:
        opset: The opset that the operators need.
    """

    opset: ClassVar[int] = OPSET

    spec: DecoderSpec
    states: States
    experts: ExpertKernel

    def mix_experts(self, experts: OneByOne, x: Tensor, given: Tensor, chosen: Tensor, see: Probe) -> Tensor:
        return self.experts(experts, x, given, chosen, see)

    def _past(self, layer: int) -> tuple[Buffer, Buffer]:
        """Keys and values of one layer before the pass."""
        return self.states.before(layer, "key"), self.states.before(layer, "value")

    def recall(self, layer: int, name: str, state: Rolling | Fixed) -> Tensor:
        return self.states.before(layer, name)

    def keep(self, layer: int, name: str, value: Tensor) -> None:
        self.states.keep(layer, **{name: value})

    @abstractmethod
    def attend(
        self, layer: int, attention: Attention, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None
    ) -> Tensor: ...


def allowed(
    query: Int[Tensor, "batch token"], key: Int[Tensor, "batch past"], window: AttentionWindow
) -> Bool[Tensor, "batch token past"]:
    """Which keys each token can attend to, by position."""
    is_past = key[:, None, :] <= query[:, :, None]
    if isinstance(window, Full):
        return is_past
    return is_past & (key[:, None, :] > query[:, :, None] - window.tokens)


def limit_of(attention: Attention) -> float:
    """The soft cap of attention scores, as operators expect it: 0 means none."""
    return attention.score_cap.limit if isinstance(attention.score_cap, SoftCap) else 0.0


@dataclass
class Buffered(_Kernels):
    """Base of kernels on buffers of fixed capacity, for one text without a batch axis.

    Attributes:
        total: Number of tokens in the buffers after this pass, as an array of one number.
        states: The states of each layer before and after the pass.
        present: The same buffers after the pass, appended layer by layer during tracing.
    """

    spec: DecoderSpec
    total: Int32[Tensor, " 1"]
    positions: Int[Tensor, " token"]
    tables: Tables
    states: States
    experts: ExpertKernel

    def __post_init__(self) -> None:
        self.last = self.total - 1

    def rotate(self, heads: Heads, rotary: Rotary) -> Heads:
        return self.tables.rotate(heads, self.positions[None], rotary)


def grouped_query(
    attention: Attention,
    inputs: list[Tensor],
    scale: float,
    sinks: Float[Tensor, " head"] | None,
    tables: tuple[Table, ...] = (),
) -> tuple[Float[Tensor, "batch token all_heads"], Buffer, Buffer]:
    """ONNX Runtime's fastest attention on a CPU. Its cost depends on the number of cached tokens, not on the capacity.

    Args:
        inputs: Query, key and value, (batch, token, all_heads); the buffers before this pass; the index of each text's
            last token, and the number of tokens of the longest text, after the pass.
        scale: Factor of the scores.
        sinks: The logit of each head's sink, if there are sinks.
        tables: Cosines and sines, if the operator rotates.

    Returns:
        The outputs of all heads, and the buffers after the pass.
    """
    query, _, _, *past = inputs[:5]
    mixed, keys, values = ops.symbolic_multi_out(
        "com.microsoft::GroupQueryAttention",
        [*inputs, *(tables or (None, None)), None, None, sinks] if sinks is not None else [*inputs, *tables],
        {
            "num_heads": attention.n_heads,
            "kv_num_heads": attention.n_kv_heads,
            "scale": scale,
            "softcap": limit_of(attention),
            "local_window_size": -1 if isinstance(attention.window, Full) else attention.window.tokens,
            "do_rotary": int(bool(tables)),
        },
        dtypes=[query.dtype] * 3,
        shapes=[query.shape, *(buffer.shape for buffer in past)],
        version=1,
    )
    return mixed, keys, values


class GroupedQuery(Buffered):
    """The grouped-query operator on heads that are already rotated."""

    def attend(
        self, layer: int, attention: Attention, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None
    ) -> Tensor:
        flat = [heads.reshape(1, heads.shape[0], -1) for heads in (query, key, value)]
        # Scaled here, since ONNX Runtime's fast product of a single row requires unscaled scores.
        scaled = flat[0] * attention.scale
        inputs = [scaled, *flat[1:], *self._past(layer), self.last, self.total]
        mixed, keys, values = grouped_query(attention, inputs, 1.0, sinks, self._fused_tables(attention))
        self.states.keep(layer, key=keys, value=values)
        return mixed.reshape(query.shape)

    def _fused_tables(self, attention: Attention) -> tuple[Tensor, ...]:
        return ()


class FusedRotary(GroupedQuery):
    """Rotates inside the attention operator if its kernel supports it, so the rotated query is not a site."""

    def rotate(self, heads: Heads, rotary: Rotary) -> Heads:
        return heads if self._inside(rotary) else super().rotate(heads, rotary)

    def _fused_tables(self, attention: Attention) -> tuple[Tensor, ...]:
        position = attention.position
        return self.tables.of[position] if isinstance(position, Rotary) and self._inside(position) else ()

    def _inside(self, rotary: Rotary) -> bool:
        return all(rotates_inside(one) for one in self.spec.attentions if one.position == rotary)


class Standard(Buffered):
    """Standard operators on the same buffers, for any head size and attention window."""

    opset = SCATTER_OPSET

    def attend(
        self, layer: int, attention: Attention, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None
    ) -> Tensor:
        keys, values = (self._write(old, new) for old, new in zip(self._past(layer), (key, value), strict=True))
        self.states.keep(layer, key=keys, value=values)
        total: Any = self.total.item()
        torch._check(total <= keys.shape[2])  # type: ignore[no-untyped-call]
        mask = allowed(self.positions[None], torch.arange(total)[None], attention.window)
        if sinks is not None:
            seen = keys.narrow(2, 0, total)[0], values.narrow(2, 0, total)[0]
            key, value = seen
            return capped(query.transpose(0, 1), key, value, mask[0], attention.score_cap, sinks).transpose(0, 1)
        mixed, *_ = ops.attention(
            query.transpose(0, 1)[None],
            keys.narrow(2, 0, total),
            values.narrow(2, 0, total),
            mask[:, None],
            scale=attention.scale,
            softcap=limit_of(attention),
        )
        return mixed.squeeze(0).transpose(0, 1)

    def _write(self, buffer: Buffer, new: Float[Tensor, "token kv_head head_dim"]) -> Buffer:
        return ops.symbolic(
            "TensorScatter",
            [buffer, new.transpose(0, 1)[None], self.positions[:1]],
            {"axis": 2, "mode": "linear"},
            dtype=buffer.dtype,
            shape=buffer.shape,
        )


@dataclass
class Batched(_Kernels):
    """Base of kernels for other tools: a batch of texts, with positions from the caller.

    Attributes:
        attended: Attention mask: 1 for a token, 0 for padding; past tokens first.
        positions: Positions of the tokens of this pass; padding shifts them.
        states: The states of each layer before and after the pass.
    """

    spec: DecoderSpec
    attended: Int[Tensor, "batch past"]
    positions: Int[Tensor, "batch token"]
    tables: Tables
    states: States
    experts: ExpertKernel

    def rotate(self, heads: Heads, rotary: Rotary) -> Heads:
        return self.tables.rotate(heads, self.positions, rotary)


class Portable(Batched):
    """Standard operators and a cache that grows by concatenation: what other tools expect."""

    def attend(
        self, layer: int, attention: Attention, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None
    ) -> Tensor:
        past_keys, past_values = self._past(layer)
        past = past_keys.shape[2]
        rows, columns = past + torch.arange(query.shape[1]), torch.arange(past + query.shape[1])
        in_window = allowed(rows[None], columns[None], attention.window)
        # A padding token attends to itself: a fully masked row would give NaN, which spreads.
        mask = (in_window & (self.attended[:, None, :] != 0)) | (rows[:, None] == columns[None, :])
        if sinks is not None:
            keys, values = (
                torch.cat([old, new.transpose(1, 2)], dim=2)
                for old, new in zip((past_keys, past_values), (key, value), strict=True)
            )
            self.states.keep(layer, key=keys, value=values)
            seen = mask[:, None]
            return capped(query.transpose(1, 2), keys, values, seen, attention.score_cap, sinks).transpose(1, 2)
        mixed, keys, values, _ = ops.attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            mask[:, None],
            past_keys,
            past_values,
            scale=attention.scale,
            softcap=limit_of(attention),
        )
        self.states.keep(layer, key=keys, value=values)
        return mixed.transpose(1, 2)


class Served(Batched):
    """The grouped-query operator on buffers of the caller, with texts padded on the right."""

    @cached_property
    def last(self) -> Int32[Tensor, " batch"]:
        """The index of each text's last token."""
        return (self.attended.sum(dim=1) - 1).to(torch.int32)

    @cached_property
    def total(self) -> Int32[Tensor, " 1"]:
        """Tokens of the longest text after the pass."""
        return torch.full((1,), self.attended.shape[1], dtype=torch.int32)

    def attend(
        self, layer: int, attention: Attention, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None
    ) -> Tensor:
        inputs = [*(heads.flatten(-2) for heads in (query, key, value)), *self._past(layer), self.last, self.total]
        mixed, keys, values = grouped_query(attention, inputs, attention.scale, sinks)
        self.states.keep(layer, key=keys, value=values)
        return mixed.reshape(query.shape)


Kernels = type[Buffered] | type[Batched]


def kernels_of(spec: DecoderSpec) -> dict[str, Kernels]:
    """The fastest kernels of each graph for this decoder. Graphs with sites do not fuse the rotation."""
    grouped = GroupedQuery if groups_queries(spec) else Standard
    fused = any(rotates_inside(one) for one in spec.attentions)
    served = Served if grouped is GroupedQuery else Portable
    return {
        "fast": FusedRotary if fused else grouped,
        "probe": grouped,
        "edit": grouped,
        "std": Portable,
        "genai": served,
    }
