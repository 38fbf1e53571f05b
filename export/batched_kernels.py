"""Kernels for other tools: a batch of texts, with positions from the caller."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int, Int32
from torch import Tensor
from torch.onnx import ops

from export.expert_kernels import ExpertKernel
from export.rotation import Heads, Tables
from export.traced_kernels import TracedKernels, allowed, grouped_query, limit_of
from export.traced_states import States
from models.kernels import capped
from models.spec import Attention, DecoderSpec, Rotary


@dataclass
class Batched(TracedKernels):
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
