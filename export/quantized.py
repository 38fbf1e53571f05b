"""Modules with quantized matrices, traced as ONNX Runtime's operators.

A matrix has the initializers `codes`, `scales`, and `zeros` unless the zero point is the middle code. A tied head has
its own codes, in the shape of its operator; they may share memory with the embedding.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.onnx import ops

from export.experts import QuantizedExperts
from export.layout import Layout, is_float, part_shapes
from models.decoder import Decoder, Embedding, Head
from models.kernels import bound
from models.moe import Stack
from models.precision import Scheme
from models.spec import DecoderSpec

_DOMAIN = "com.microsoft"


class Initializers(nn.Module):
    """The initializers of one matrix or of a stack, without data."""

    codes: Tensor
    scales: Tensor
    zeros: Tensor | None

    def __init__(self, parameter: str, shape: tuple[int, ...], scheme: Scheme, accuracy: int) -> None:
        super().__init__()
        self.shape, self.scheme, self.accuracy = shape, scheme, accuracy
        self.register_buffer("zeros", None)
        for name, part in part_shapes(parameter, shape, scheme).items():
            kind = torch.float32 if is_float(name, scheme) else torch.uint8
            self.register_buffer(name.rpartition(".")[2], torch.empty(part, dtype=kind))


class Quantized(Initializers):
    """One matrix."""

    def product(self, x: Float[Tensor, "*rows column"], bias: Tensor | None) -> Float[Tensor, "*rows row"]:
        """`x` times the transposed matrix, plus `bias`."""
        rows, columns = self.shape
        inputs = [x, self.codes, self.scales, self.zeros, None, bias]
        while inputs[-1] is None:
            inputs.pop()
        attributes: dict[str, Any] = {"K": columns, "N": rows, "accuracy_level": self.accuracy}
        return ops.symbolic(
            f"{_DOMAIN}::MatMulNBits",
            inputs,
            attributes | self._sizes,
            dtype=x.dtype,
            shape=(*x.shape[:-1], rows),
            version=1,
        )

    def rows(self, ids: Int[Tensor, "*rows"]) -> Float[Tensor, "*rows column"]:
        """The rows with indices `ids`, dequantized."""
        columns, padded = self.shape[1], self.scales.shape[1] * self.scheme.group
        inputs = [self.codes, ids, self.scales, *([] if self.zeros is None else [self.zeros])]
        rows = ops.symbolic(
            f"{_DOMAIN}::GatherBlockQuantized",
            inputs,
            {"gather_axis": 0, "quantize_axis": 1} | self._sizes,
            dtype=torch.float32,
            shape=(*ids.shape, padded),
            version=1,
        )
        return rows if padded == columns else rows.narrow(-1, 0, columns)

    @property
    def _sizes(self) -> dict[str, Any]:
        return {"bits": self.scheme.bits, "block_size": self.scheme.group}


class QuantizedStack(Initializers):
    """Replaces `Stack`."""

    def __init__(self, parameter: str, dense: Stack, scheme: Scheme, accuracy: int) -> None:
        super().__init__(parameter, tuple(dense.weight.shape), scheme, accuracy)
        self.bias = dense.bias

    @property
    def matrices(self) -> QuantizedExperts:
        """The matrices, for the operators of experts."""
        return QuantizedExperts(self.scheme, self.shape[-1], self.codes, self.scales, self.zeros, self.accuracy)


class QuantizedLinear(Quantized):
    """Replaces `nn.Linear`."""

    def __init__(self, parameter: str, dense: nn.Linear, scheme: Scheme, accuracy: int) -> None:
        super().__init__(parameter, (dense.out_features, dense.in_features), scheme, accuracy)
        self.bias = dense.bias

    def forward(self, x: Float[Tensor, "*rows column"]) -> Float[Tensor, "*rows row"]:
        return self.product(x, self.bias)


class QuantizedEmbedding(Quantized):
    """Replaces `Embedding`."""

    def __init__(self, dense: Embedding, scheme: Scheme, accuracy: int) -> None:
        rows, columns = dense.weight.shape
        super().__init__("embed.weight", (rows, columns), scheme, accuracy)
        self.weight = None  # not used: a tied head has its own codes
        self.project, self.positions = dense.project, dense.positions

    def forward(self, ids: Int[Tensor, "*rows"], positions: Int[Tensor, "*rows"]) -> Float[Tensor, "*rows model"]:
        x = self.rows(ids)
        x = x if self.project is None else self.project(x)
        return x if self.positions is None else x + nn.functional.embedding(positions, self.positions)


class QuantizedHead(Quantized):
    """Replaces `Head`, tied or not."""

    def __init__(self, dense: Head, shape: tuple[int, int], scheme: Scheme, accuracy: int) -> None:
        super().__init__("head.weight", shape, scheme, accuracy)
        self.norm, self.project, self.bias, self.cap = dense.norm, dense.project, dense.bias, dense.cap

    def forward(self, x: Float[Tensor, "*rows model"], embedding: Tensor | None) -> Float[Tensor, "*rows vocab"]:
        x = self.norm(x)
        return bound(self.cap, self.product(x if self.project is None else self.project(x), self.bias))


def _quantized(parameter: str, dense: nn.Linear | Stack, scheme: Scheme, accuracy: int) -> Initializers:
    if isinstance(dense, Stack):
        return QuantizedStack(parameter, dense, scheme, accuracy)
    return QuantizedLinear(parameter, dense, scheme, accuracy)


def replace_quantized(decoder: Decoder, layout: Layout) -> None:
    """Replaces the modules whose matrices are quantized in the layout."""
    products = {name: module for name, module in decoder.named_modules() if isinstance(module, nn.Linear | Stack)}
    for name, module in products.items():
        if scheme := layout.schemes.get(f"{name}.weight"):
            owner, _, part = name.rpartition(".")
            decoder.get_submodule(owner).add_module(part, _quantized(f"{name}.weight", module, scheme, layout.accuracy))
    spec: DecoderSpec = decoder.spec
    if scheme := layout.schemes.get("head.weight"):
        sizes = (spec.vocab_size, spec.token_width)
        decoder.add_module("head", QuantizedHead(decoder.head, sizes, scheme, layout.accuracy))
    if scheme := layout.schemes.get("embed.weight"):
        decoder.add_module("embed", QuantizedEmbedding(decoder.embed, scheme, layout.accuracy))
