"""Attention and positions as ONNX operators: the kernels that a decoder is traced with.

    Portable        standard operators, keys and values concatenated to what came before
    Served          a batch of texts, as onnxruntime-genai serves them: the grouped-query operator on its buffers
    Buffered        keys and values live in buffers of fixed capacity, written in place:
        Standard        standard operators, for head sizes that the grouped-query operator refuses
        GroupedQuery    com.microsoft::GroupQueryAttention on heads that are rotated before it
        FusedRotary     the same, which also rotates

They only trace: `torch.onnx.ops` records the operator and computes nothing.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int, Int32
from torch import Tensor
from torch.onnx import ops

from export.layout import groups_queries
from export.names import OPSET, SCATTER_OPSET
from models.spec import AttentionWindow, DecoderSpec, Full, LayerSpec, Rotary, SoftCap

Heads = Float[Tensor, "*batch token head head_dim"]
Table = Float[Tensor, "position pair"]
Buffer = Float[Tensor, "batch kv_head past head_dim"]


@dataclass(frozen=True)
class Tables:
    """Cosine and sine of every position's angles, for each kind of rotary position a decoder has."""

    of: dict[Rotary, tuple[Table, Table]]

    def turn(self, heads: Heads, positions: Int[Tensor, "batch token"], rotary: Rotary) -> Heads:
        """The standard RotaryEmbedding, on heads laid side by side."""
        cos, sin = self.of[rotary]
        token, head, head_dim = heads.shape[-3:]
        turned = ops.rotary_embedding(
            heads.reshape(-1, token, head * head_dim),
            cos,
            sin,
            positions,
            num_heads=head,
            rotary_embedding_dim=0 if rotary.features == head_dim else rotary.features,
        )
        return turned.reshape(heads.shape)


def allowed(
    query: Int[Tensor, "batch token"], key: Int[Tensor, "batch past"], window: AttentionWindow
) -> Bool[Tensor, "batch token past"]:
    """Which keys each token may read, by position."""
    ahead = key[:, None, :] <= query[:, :, None]
    if isinstance(window, Full):
        return ahead
    return ahead & (key[:, None, :] > query[:, :, None] - window.tokens)


def limit_of(layer_spec: LayerSpec) -> float:
    """The bound of scaled scores, as operators take it: 0 is none."""
    return layer_spec.score_cap.limit if isinstance(layer_spec.score_cap, SoftCap) else 0.0


@dataclass
class Buffered(ABC):
    """What kernels on fixed-capacity buffers share: no batch axis, one text.

    Attributes:
        total: Tokens the buffers hold after this pass, as an array of one number.
        opset: What their operators need.
        past: Keys and values of each layer before the pass.
        present: The same buffers after it, filled layer by layer as the decoder is traced.
    """

    opset: ClassVar[int] = OPSET

    spec: DecoderSpec
    total: Int32[Tensor, " 1"]
    positions: Int[Tensor, " token"]
    tables: Tables
    past: list[tuple[Buffer, Buffer]]

    def __post_init__(self) -> None:
        self.present: list[tuple[Buffer, Buffer]] = []
        self.last = self.total - 1

    def rotate(self, heads: Heads, rotary: Rotary) -> Heads:
        return self.tables.turn(heads, self.positions[None], rotary)

    @abstractmethod
    def attend(self, layer: int, layer_spec: LayerSpec, query: Tensor, key: Tensor, value: Tensor) -> Tensor: ...


def grouped_query(
    spec: DecoderSpec, layer_spec: LayerSpec, inputs: list[Tensor], scale: float, turning: tuple[Table, ...] = ()
) -> tuple[Float[Tensor, "batch token all_heads"], Buffer, Buffer]:
    """ONNX Runtime's fastest attention on CPU: its cost follows the tokens held, not the capacity.

    Args:
        inputs: Query, key and value, (batch, token, all_heads); the buffers before this pass; index of each text's last
            token after it, and the tokens of the longest text.
        scale: What scores are multiplied by.
        turning: Cosines and sines, where the operator rotates.

    Returns:
        What all heads read, and the buffers after the pass.
    """
    query, _, _, *past = inputs[:5]
    mixed, keys, values = ops.symbolic_multi_out(
        "com.microsoft::GroupQueryAttention",
        [*inputs, *turning],
        {
            "num_heads": spec.n_heads,
            "kv_num_heads": spec.n_kv_heads,
            "scale": scale,
            "softcap": limit_of(layer_spec),
            "local_window_size": -1 if isinstance(layer_spec.window, Full) else layer_spec.window.tokens,
            "do_rotary": int(bool(turning)),
        },
        dtypes=[query.dtype] * 3,
        shapes=[query.shape, *(held.shape for held in past)],
        version=1,
    )
    return mixed, keys, values


class GroupedQuery(Buffered):
    """The grouped-query operator, on heads that are rotated before it."""

    def attend(self, layer: int, layer_spec: LayerSpec, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        flat = [heads.reshape(1, heads.shape[0], -1) for heads in (query, key, value)]
        # Not by the operator: ONNX Runtime's quick product of a single row is for scores that are not scaled.
        scaled = flat[0] * self.spec.scale
        inputs = [scaled, *flat[1:], *self.past[layer], self.last, self.total]
        mixed, keys, values = grouped_query(self.spec, layer_spec, inputs, 1.0, self._turning(layer_spec))
        self.present.append((keys, values))
        return mixed.reshape(query.shape)

    def _turning(self, layer_spec: LayerSpec) -> tuple[Tensor, ...]:
        return ()


class FusedRotary(GroupedQuery):
    """Rotates inside the attention operator, where its kernel can: the rotated query is never seen."""

    def rotate(self, heads: Heads, rotary: Rotary) -> Heads:
        return heads if fuses(rotary, self.spec.head_dim) else super().rotate(heads, rotary)

    def _turning(self, layer_spec: LayerSpec) -> tuple[Tensor, ...]:
        position = layer_spec.position
        if isinstance(position, Rotary) and fuses(position, self.spec.head_dim):
            return self.tables.of[position]
        return ()


class Standard(Buffered):
    """Standard operators on the same buffers: any head size, any reach."""

    opset = SCATTER_OPSET

    def attend(self, layer: int, layer_spec: LayerSpec, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        keys = self._write(self.past[layer][0], key)
        values = self._write(self.past[layer][1], value)
        self.present.append((keys, values))
        held: Any = self.total.item()
        torch._check(held <= keys.shape[2])  # type: ignore[no-untyped-call]
        seen = allowed(self.positions[None], torch.arange(held)[None], layer_spec.window)
        mixed, *_ = ops.attention(
            query.transpose(0, 1)[None],
            keys.narrow(2, 0, held),
            values.narrow(2, 0, held),
            seen[:, None],
            scale=self.spec.scale,
            softcap=limit_of(layer_spec),
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
class Batched(ABC):
    """What kernels for other tools share: a batch of texts, and positions as the caller counts them.

    Attributes:
        attended: 1 where a token counts and 0 where it pads, earlier tokens first.
        opset: What their operators need.
        positions: Of the tokens of this pass; padding moves them.
        past: Keys and values of each layer before the pass.
    """

    opset: ClassVar[int] = OPSET

    spec: DecoderSpec
    attended: Int[Tensor, "batch past"]
    positions: Int[Tensor, "batch token"]
    tables: Tables
    past: list[tuple[Buffer, Buffer]]

    def __post_init__(self) -> None:
        self.present: list[tuple[Buffer, Buffer]] = []

    def rotate(self, heads: Heads, rotary: Rotary) -> Heads:
        return self.tables.turn(heads, self.positions, rotary)

    @abstractmethod
    def attend(self, layer: int, layer_spec: LayerSpec, query: Tensor, key: Tensor, value: Tensor) -> Tensor: ...


class Portable(Batched):
    """Standard operators and a cache that grows by concatenation: what other tools expect."""

    def attend(self, layer: int, layer_spec: LayerSpec, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        held = self.past[layer][0].shape[2]
        rows, columns = held + torch.arange(query.shape[1]), torch.arange(held + query.shape[1])
        reached = allowed(rows[None], columns[None], layer_spec.window)
        # A padding token reads itself: a row that sees nothing would turn to NaN and spread.
        seen = (reached & (self.attended[:, None, :] != 0)) | (rows[:, None] == columns[None, :])
        mixed, keys, values, _ = ops.attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            seen[:, None],
            *self.past[layer],
            scale=self.spec.scale,
            softcap=limit_of(layer_spec),
        )
        self.present.append((keys, values))
        return mixed.transpose(1, 2)


class Served(Batched):
    """The grouped-query operator on the buffers of a server that keeps them, texts padded on the right."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.last = (self.attended.sum(dim=1) - 1).to(torch.int32)
        self.total = torch.full((1,), self.attended.shape[1], dtype=torch.int32)

    def attend(self, layer: int, layer_spec: LayerSpec, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        inputs = [*(heads.flatten(-2) for heads in (query, key, value)), *self.past[layer], self.last, self.total]
        mixed, keys, values = grouped_query(self.spec, layer_spec, inputs, self.spec.scale)
        self.present.append((keys, values))
        return mixed.reshape(query.shape)


def fuses(rotary: Rotary, head_dim: int) -> bool:
    """Whether the grouped-query operator can rotate: its kernel works on 16 features at a time."""
    return head_dim % 16 == 0 and rotary.features % 16 == 0


Kernels = type[Buffered] | type[Batched]


def kernels_of(spec: DecoderSpec) -> dict[str, Kernels]:
    """The kernels of each graph: the fastest that run this decoder, with the rotated query in sight where sites are."""
    grouped = GroupedQuery if groups_queries(spec) else Standard
    fused = any(isinstance(layer.position, Rotary) and fuses(layer.position, spec.head_dim) for layer in spec.layers)
    served = Served if grouped is GroupedQuery else Portable
    return {
        "fast": FusedRotary if fused else grouped,
        "probe": grouped,
        "edit": grouped,
        "std": Portable,
        "genai": served,
    }
