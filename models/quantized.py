"""Group-wise quantized matrices, which all engines read in the same form.

    weight[row, column] = scale[row, group] · (code[row, column] - zero[row, group])    group = column // scheme.group
    weight[row, column] = scale[row, group] · code[row, column] + offset[row, group]    for `Zero.OFFSET`

Codes are stored as bytes as in `models.code_bytes`.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

from models.code_bytes import codes_from_bytes, codes_to_bytes
from models.precision import Scheme, Zero

_BLOCK = 1 << 20
"""Numbers quantized in one step, which limits additional memory for a large matrix."""


@dataclass(frozen=True)
class QuantizedMatrix:
    """A quantized matrix of `columns` columns, with rows padded to whole groups; or a stack of such matrices.

    Attributes:
        zeros: The code of 0 in each group, only for `Zero.WHOLE`.
        n_experts: Matrices in a stack, whose rows follow one another; None for a single matrix.
        offsets: The weight of code 0 in each group, only for `Zero.OFFSET`.
        order: The column of the weights that each stored column is, only if the scheme is `ordered`; for matrices
            whose rows are whole groups.
    """

    scheme: Scheme
    columns: int
    codes: UInt8[np.ndarray, "row bytes"]
    scales: Float32[np.ndarray, "row group"]
    zeros: UInt8[np.ndarray, "row group"] | None = None
    n_experts: int | None = None
    offsets: Float32[np.ndarray, "row group"] | None = None
    order: Int32[np.ndarray, " column"] | None = None

    @property
    def rows(self) -> int:
        return len(self.codes)

    @property
    def shape(self) -> tuple[int, ...]:
        """(row, column), or (expert, row, column) of a stack."""
        return (
            (self.rows, self.columns)
            if self.n_experts is None
            else (self.n_experts, self.rows // self.n_experts, self.columns)
        )

    @property
    def nbytes(self) -> int:
        """Bytes of codes, scales, zeros and offsets."""
        parts = (self.codes, self.scales, self.zeros, self.offsets)
        return sum(part.nbytes for part in parts if part is not None)

    def zero_points(self) -> Float32[np.ndarray, "row group"]:
        """The code of 0 in each group as a number; not for offsets, which no code may reach."""
        assert self.offsets is None
        if self.zeros is None:
            return np.full(self.scales.shape, middle(self.scheme.bits), np.float32)
        return self.zeros.astype(np.float32)

    def group_offsets(self) -> Float32[np.ndarray, "row group"]:
        """The weight of code 0 in each group."""
        return -self.zero_points() * self.scales if self.offsets is None else self.offsets

    def dense(self) -> Float32[np.ndarray, "*expert row column"]:
        """The dequantized matrix or stack."""
        dense = np.empty((self.rows, self.columns), np.float32)
        for rows in row_blocks(self.rows, self.columns):
            codes = codes_from_bytes(self.codes[rows], self.scheme.bits).astype(np.float32)
            weights = self._weights(codes.reshape(len(codes), -1, self.scheme.group), rows)
            columns = slice(None) if self.order is None else self.order
            dense[rows, columns] = weights.reshape(len(codes), -1)[:, : self.columns]
        return dense.reshape(self.shape)

    def _weights(
        self, codes: Float32[np.ndarray, "row group column"], rows: slice
    ) -> Float32[np.ndarray, "row group column"]:
        """The weights of some rows, each computed with one rounding if its product with the scale is exact."""
        scales = self.scales[rows][..., None]
        weights: Float32[np.ndarray, "row group column"]
        if self.offsets is not None:
            weights = codes * scales + self.offsets[rows][..., None]
        elif self.zeros is not None:
            weights = (codes - self.zeros[rows][..., None].astype(np.float32)) * scales
        else:
            weights = (codes - np.float32(middle(self.scheme.bits))) * scales
        return weights


@runtime_checkable
class StoredMatrix(Protocol):
    """A quantized matrix that can be read from a file."""

    @property
    def kind(self) -> str:
        """How it is stored, as a short label: `GPTQ 4 bits, groups of 128`."""

    @property
    def scheme(self) -> Scheme: ...

    @property
    def stored_bytes(self) -> int: ...

    def read(self) -> QuantizedMatrix: ...


class QuantizedMatrices(Mapping[str, QuantizedMatrix]):
    """Quantized parameters by Edge's names, read at access."""

    def __init__(self, stored: Mapping[str, StoredMatrix] | None = None) -> None:
        self._stored = stored or {}

    @property
    def schemes(self) -> dict[str, Scheme]:
        """The scheme of each matrix, without reading it."""
        return {name: matrix.scheme for name, matrix in self._stored.items()}

    def stored_bytes_of(self, name: str) -> int:
        """Size of one on disk."""
        return self._stored[name].stored_bytes

    @property
    def kinds(self) -> dict[str, str]:
        """How each matrix is stored, as a short label, without reading it."""
        return {name: matrix.kind for name, matrix in self._stored.items()}

    @property
    def stored_bytes(self) -> int:
        """Size of all of them on disk."""
        return sum(matrix.stored_bytes for matrix in self._stored.values())

    def only(self, names: Collection[str]) -> "QuantizedMatrices":
        """Those of some names."""
        return QuantizedMatrices({name: matrix for name, matrix in self._stored.items() if name in names})

    def __getitem__(self, name: str) -> QuantizedMatrix:
        return self._stored[name].read()

    def __contains__(self, name: object) -> bool:
        return name in self._stored  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


def middle(bits: int) -> int:
    """The middle code: half of all codes are below it."""
    return 1 << (bits - 1)


def groups_of(columns: int, scheme: Scheme) -> int:
    """Number of groups in one row."""
    return -(-columns // scheme.group)


def row_bytes(columns: int, scheme: Scheme) -> int:
    """Bytes of the codes of one row."""
    return groups_of(columns, scheme) * scheme.group * scheme.bits // 8


def quantize_matrix(matrix: Float[np.ndarray, "row column"], scheme: Scheme) -> QuantizedMatrix:
    """Rounds every weight to the nearest code of its group. The codes cover the range of the group's weights and 0.

    `Zero.WHOLE`: `scale = (largest - smallest) / (2^bits - 1)`. `Zero.MIDDLE`: the weight of the largest magnitude gets
    code 0, `scale = -largest / 2^(bits - 1)`, which uses all codes, as in llama.cpp's q4_0.

    Raises:
        ValueError: some weights are not finite, or their range is too large for a scale in float32.
    """
    rows, columns = matrix.shape
    groups = groups_of(columns, scheme)
    codes = np.empty((rows, row_bytes(columns, scheme)), np.uint8)
    scales = np.empty((rows, groups), np.float32)
    zeros = np.full((rows, groups), middle(scheme.bits), np.uint8)
    for block in row_blocks(rows, columns):
        dense = np.asarray(matrix[block], np.float32)
        padded = np.pad(dense, ((0, 0), (0, groups * scheme.group - columns))).reshape(len(dense), groups, -1)
        scales[block], zeros[block] = _scales_and_zeros(padded, scheme)
        rounded = np.rint(padded / scales[block][..., None]) + zeros[block][..., None]
        clipped = np.clip(rounded, 0, 2**scheme.bits - 1).astype(np.uint8)
        codes[block] = codes_to_bytes(clipped.reshape(len(dense), -1), scheme.bits)
    return QuantizedMatrix(scheme, columns, codes, scales, None if scheme.zero is Zero.MIDDLE else zeros)


def _scales_and_zeros(
    grouped: Float32[np.ndarray, "row group column"], scheme: Scheme
) -> tuple[Float32[np.ndarray, "row group"], UInt8[np.ndarray, "row group"]]:
    """Scale and zero point of each group; a group of zeros has scale 1."""
    smallest, largest = np.minimum(grouped.min(axis=-1), 0), np.maximum(grouped.max(axis=-1), 0)
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(largest - smallest).all():
            raise ValueError("some of its weights are not finite, or their range is too large")
    if scheme.zero is Zero.MIDDLE:
        scale = np.where(-smallest >= largest, smallest, largest) / np.float32(-middle(scheme.bits))
        zero = np.full(scale.shape, middle(scheme.bits), np.uint8)
    else:
        scale = (largest - smallest) / np.float32(2**scheme.bits - 1)
        zero = np.rint(-smallest / np.where(scale == 0, 1, scale)).astype(np.uint8)
    # A subnormal scale would lose precision. Products with such weights are 0 for any activation.
    flat = np.abs(scale) < np.finfo(np.float32).tiny
    return np.where(flat, np.float32(1), scale), zero


def row_blocks(rows: int, columns: int) -> list[slice]:
    """Blocks of rows that are converted in one step."""
    step = max(1, _BLOCK // max(1, columns))
    return [slice(first, min(first + step, rows)) for first in range(0, rows, step)]
