"""Kernels on keys and values in buffers of fixed capacity, written in place, for one text without a batch axis."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor
from torch.onnx import ops

from export.expert_kernels import ExpertKernel
from export.names import SCATTER_OPSET
from export.rotation import Heads, Tables, rotates_inside
from export.traced_kernels import TracedKernels, allowed, grouped_query, limit_of
from export.traced_states import Buffer, States
from models.kernels import capped
from models.spec import Attention, DecoderSpec, Rotary


@dataclass
class Buffered(TracedKernels):
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
