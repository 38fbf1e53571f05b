"""MLX modules with quantized matrices; the counterpart of `export/quantized.py`.

MLX has offsets in place of zero points: `weight = scale · code + offset`. Its kernels take codes of any width, but no
groups below 32. So smaller groups are filled with codes of 0, and inputs with zeros in the same places.
"""

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import numpy as np
from jaxtyping import Float, Int, UInt8
from mlx import nn

from models.code_bytes import codes_from_bytes, codes_to_bytes
from models.mlx_decoder import Decoder, Embedding, Head
from models.mlx_kernels import bound
from models.mlx_moe import Stack
from models.precision import GROUPS
from models.quantized import QuantizedMatrix, row_blocks
from models.sites import SUBLAYERS

_FEWEST = GROUPS[0]
"""Columns of the smallest group that MLX has kernels for."""


class Quantized(nn.Module):
    """One quantized matrix and its operations."""

    def __init__(self, matrix: QuantizedMatrix) -> None:
        super().__init__()
        self.columns, self.padded = matrix.columns, matrix.scales.shape[1] * matrix.scheme.group
        self.group = matrix.scheme.group
        self.format: dict[str, Any] = {"group_size": max(self.group, _FEWEST), "bits": matrix.scheme.bits}
        # MLX stores four bytes of codes as one uint32; rows consist of whole groups, so they divide evenly.
        self.codes = mx.array(np.ascontiguousarray(_filled_codes(matrix)).view(np.uint32))
        self.scales = mx.array(np.asarray(matrix.scales))
        self.offsets = mx.array(matrix.group_offsets())
        self.order = None if matrix.order is None else mx.array(np.asarray(matrix.order))

    def product(self, x: Float[mx.array, "*rows column"]) -> Float[mx.array, "*rows row"]:
        """`x` times the transposed matrix."""
        return mx.quantized_matmul(
            self._as_stored(x), self.codes, self.scales, self.offsets, transpose=True, **self.format
        )

    def _as_stored(self, x: Float[mx.array, "*rows column"]) -> Float[mx.array, "*rows stored"]:
        """`x` in the order of the stored columns, with zeros up to whole groups, and in groups that are filled."""
        x = x if self.order is None else mx.take(x, self.order, axis=-1)
        x = _with_zeros(x, self.padded - self.columns)
        if self.group >= _FEWEST:
            return x
        grouped = x.reshape(*x.shape[:-1], -1, self.group)
        return _with_zeros(grouped, _FEWEST - self.group).flatten(-2)

    def rows(self, ids: Int[mx.array, " token"]) -> Float[mx.array, "token column"]:
        """The rows with indices `ids`, dequantized."""
        codes, scales, offsets = (part[ids] for part in (self.codes, self.scales, self.offsets))
        rows = mx.dequantize(codes, scales, offsets, **self.format)
        if self.group < _FEWEST:
            rows = rows.reshape(len(ids), -1, _FEWEST)[..., : self.group].flatten(-2)
        return rows[:, : self.columns] if self.order is None else mx.take(rows, mx.argsort(self.order), axis=-1)


def _with_zeros(x: Float[mx.array, "*rows column"], extra: int) -> Float[mx.array, "*rows more"]:
    return mx.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, extra)]) if extra else x


def _filled_codes(matrix: QuantizedMatrix) -> UInt8[np.ndarray, "row bytes"]:
    """The codes, with groups filled up to the smallest one of MLX."""
    group, bits = matrix.scheme.group, matrix.scheme.bits
    if group >= _FEWEST:
        return matrix.codes
    filled = np.empty((matrix.rows, matrix.codes.shape[1] * _FEWEST // group), np.uint8)
    for rows in row_blocks(matrix.rows, matrix.columns):
        codes = codes_from_bytes(matrix.codes[rows], bits).reshape(-1, matrix.scales.shape[1], group)
        padded = np.pad(codes, ((0, 0), (0, 0), (0, _FEWEST - group)))
        filled[rows] = codes_to_bytes(padded.reshape(len(codes), -1), bits)
    return filled


class QuantizedLinear(Quantized):
    """Replaces `nn.Linear`."""

    def __init__(self, matrix: QuantizedMatrix, bias: mx.array | None) -> None:
        super().__init__(matrix)
        self.bias = bias

    def __call__(self, x: Float[mx.array, "*rows column"]) -> Float[mx.array, "*rows row"]:
        product = self.product(x)
        return product if self.bias is None else product + self.bias


class QuantizedEmbedding(Quantized):
    """Replaces `Embedding`."""

    def __init__(self, matrix: QuantizedMatrix, dense: Embedding) -> None:
        super().__init__(matrix)
        self.project, self.positions = dense.project, dense.positions
        self.weight = None  # not used: a quantized head has its own matrix

    def __call__(
        self, ids: Int[mx.array, " token"], positions: Int[mx.array, " token"]
    ) -> Float[mx.array, "token model"]:
        x = self.rows(ids)
        x = x if self.project is None else self.project(x)
        return x if self.positions is None else x + self.positions[positions]


class QuantizedHead(nn.Module):
    """Replaces `Head`. A tied head uses the embedding's matrix."""

    def __init__(self, matrix: Quantized, dense: Head) -> None:
        super().__init__()
        self.matrix, self.norm, self.project = matrix, dense.norm, dense.project
        self.bias, self.cap = dense.bias, dense.cap

    def __call__(self, x: Float[mx.array, "token model"], embedding: mx.array | None) -> Float[mx.array, "token vocab"]:
        x = self.norm(x)
        logits = self.matrix.product(x if self.project is None else self.project(x))
        return bound(self.cap, logits if self.bias is None else logits + self.bias)


class QuantizedStack(Quantized):
    """Replaces `Stack`."""

    def __init__(self, matrix: QuantizedMatrix, bias: mx.array | None) -> None:
        super().__init__(matrix)
        self.bias = bias
        for name in ("codes", "scales", "offsets"):
            self[name] = self[name].reshape(matrix.n_experts, -1, self[name].shape[-1])

    def product(self, x: Float[mx.array, "row column"], expert: int) -> Float[mx.array, "row out"]:  # type: ignore[override]
        """`x` times the transposed matrix of one expert, plus its bias."""
        codes, scales, offsets = (self[name][expert] for name in ("codes", "scales", "offsets"))
        product = mx.quantized_matmul(self._as_stored(x), codes, scales, offsets, transpose=True, **self.format)
        return product if self.bias is None else product + self.bias[expert]

    def gathered(
        self, x: Float[mx.array, "token _ column"], chosen: Int[mx.array, "token slot"]
    ) -> Float[mx.array, "token slot out"]:
        """The same for every chosen expert of every token; `x` has one row for all slots, or one for each."""
        product = mx.gather_qmm(
            self._as_stored(x)[:, :, None],
            self.codes,
            self.scales,
            self.offsets,
            rhs_indices=chosen,
            transpose=True,
            **self.format,
        )[:, :, 0]
        return product if self.bias is None else product + self.bias[chosen]


def _replace_linears(owner: nn.Module, name: str, quantized: Mapping[str, QuantizedMatrix]) -> None:
    """Replaces the linear layers and stacks inside a module that have a matrix in `quantized`."""
    for part, dense in list(owner.items()):
        matrix = quantized.get(f"{name}.{part}.weight")
        if matrix is not None and isinstance(dense, nn.Linear):
            setattr(owner, part, QuantizedLinear(matrix, dense.get("bias")))
        elif matrix is not None and isinstance(dense, Stack):
            setattr(owner, part, QuantizedStack(matrix, dense.bias))
        elif isinstance(dense, nn.Module):
            _replace_linears(dense, f"{name}.{part}", quantized)


def replace_quantized(decoder: Decoder, quantized: Mapping[str, QuantizedMatrix]) -> None:
    """Replaces the modules that have a matrix in `quantized`; all others have their weights already."""
    for index, block in enumerate(decoder.layers):
        for sublayer in SUBLAYERS:
            _replace_linears(getattr(block, sublayer), f"layers.{index}.{sublayer}", quantized)
    for part in ("embed", "head"):
        _replace_linears(getattr(decoder, part), part, quantized)
    others: dict[str, nn.Module] = {}
    if matrix := quantized.get("embed.weight"):
        embedding = others["embed"] = QuantizedEmbedding(matrix, decoder.embed)
        if decoder.spec.tied:
            others["head"] = QuantizedHead(embedding, decoder.head)
    if matrix := quantized.get("head.weight"):
        others["head"] = QuantizedHead(Quantized(matrix), decoder.head)
    decoder.update_modules(others)
