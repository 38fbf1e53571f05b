"""Modules with quantized matrices, traced as operators of Edge that `export.products` and `export.expert_loops` expand.

`export.operands` has the initializers of a matrix. A tied head has its own codes, in the shape of its operator; they
share memory with the embedding's.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.onnx import ops

from export.experts import QuantizedExperts
from export.layout import Layout
from export.names import DOMAIN
from export.operands import Operand
from export.products import PARTS, PRODUCT, ROWS, attributes_of
from models.decoder import Decoder, Embedding, Head
from models.kernels import bound
from models.moe import Stack
from models.quantized_file import stem_of


class Initializers(nn.Module):
    """The initializers of one matrix or of a stack, without data."""

    codes: Tensor
    scales: Tensor
    zeros: Tensor | None
    offsets: Tensor | None
    order: Tensor | None

    def __init__(self, operand: Operand) -> None:
        super().__init__()
        self.operand = operand
        for part in PARTS:
            self.register_buffer(part, None)
        for part, (kind, shape) in operand.parts.items():
            self.register_buffer(part, torch.empty(shape, dtype=getattr(torch, kind.name)))


class Quantized(Initializers):
    """One matrix."""

    def product(self, x: Float[Tensor, "*rows column"], bias: Tensor | None) -> Float[Tensor, "*rows row"]:
        """`x` times the transposed matrix, plus `bias`."""
        return self._traced(PRODUCT, x, (*x.shape[:-1], self.operand.shape[0]), bias)

    def rows(self, ids: Int[Tensor, "*rows"]) -> Float[Tensor, "*rows column"]:
        """The rows with indices `ids`, dequantized."""
        return self._traced(ROWS, ids, (*ids.shape, self.operand.columns), None)

    def _traced(self, operator: str, given: Tensor, shape: tuple[int, ...], bias: Tensor | None) -> Tensor:
        inputs = [given, *(getattr(self, part) for part in PARTS), bias]
        attributes: dict[str, Any] = dict(attributes_of(self.operand, given.dim()))
        return ops.symbolic(f"{DOMAIN}::{operator}", inputs, attributes, dtype=torch.float32, shape=shape, version=1)


class QuantizedStack(Initializers):
    """Replaces `Stack`."""

    def __init__(self, operand: Operand, dense: Stack) -> None:
        super().__init__(operand)
        self.bias = dense.bias

    @property
    def matrices(self) -> QuantizedExperts:
        """The matrices, for the operators of experts."""
        operand, parts = self.operand, (self.codes, self.scales, self.zeros, self.offsets, self.order)
        return QuantizedExperts(operand.scheme, operand.columns, *parts, accuracy=operand.accuracy)


class QuantizedLinear(Quantized):
    """Replaces `nn.Linear`."""

    def __init__(self, operand: Operand, dense: nn.Linear) -> None:
        super().__init__(operand)
        self.bias = dense.bias

    def forward(self, x: Float[Tensor, "*rows column"]) -> Float[Tensor, "*rows row"]:
        return self.product(x, self.bias)


class QuantizedEmbedding(Quantized):
    """Replaces `Embedding`."""

    def __init__(self, operand: Operand, dense: Embedding) -> None:
        super().__init__(operand)
        self.weight = None  # not used: a tied head has its own codes
        self.project, self.positions = dense.project, dense.positions

    def forward(self, ids: Int[Tensor, "*rows"], positions: Int[Tensor, "*rows"]) -> Float[Tensor, "*rows model"]:
        x = self.rows(ids)
        x = x if self.project is None else self.project(x)
        return x if self.positions is None else x + nn.functional.embedding(positions, self.positions)


class QuantizedHead(Quantized):
    """Replaces `Head`, tied or not."""

    def __init__(self, operand: Operand, dense: Head) -> None:
        super().__init__(operand)
        self.norm, self.project, self.bias, self.cap = dense.norm, dense.project, dense.bias, dense.cap

    def forward(self, x: Float[Tensor, "*rows model"], embedding: Tensor | None) -> Float[Tensor, "*rows vocab"]:
        x = self.norm(x)
        return bound(self.cap, self.product(x if self.project is None else self.project(x), self.bias))


def _quantized(operand: Operand, dense: nn.Module) -> Initializers:
    match dense:
        case Stack():
            return QuantizedStack(operand, dense)
        case nn.Linear():
            return QuantizedLinear(operand, dense)
        case Embedding():
            return QuantizedEmbedding(operand, dense)
        case Head():
            return QuantizedHead(operand, dense)
    raise AssertionError(f"no quantized module replaces {type(dense).__name__}")


def replace_quantized(decoder: Decoder, layout: Layout) -> None:
    """Replaces the modules whose matrices are quantized in the layout."""
    for name, operand in layout.operands(decoder.spec).items():
        owner, _, part = stem_of(name).rpartition(".")
        dense = decoder.get_submodule(stem_of(name))
        decoder.get_submodule(owner).add_module(part, _quantized(operand, dense))
