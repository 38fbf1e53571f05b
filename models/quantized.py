"""Group-wise quantized matrices, which all engines read in the same form.

    weight[row, column] = scale[row, group] · (code[row, column] - zero[row, group])    group = column // scheme.group

Codes are packed into bytes, the first of two 4-bit codes in the low nibble. ONNX Runtime's `MatMulNBits` reads this
layout, and `mx.quantized_matmul` reads it as uint32.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Shaped, UInt8

from models.precision import Scheme, Zero

_BLOCK = 1 << 20
"""Numbers quantized in one step, which limits additional memory for a large matrix."""

Codes = UInt8[np.ndarray, "*rows bytes"]


@dataclass(frozen=True)
class QuantizedMatrix:
    """A quantized matrix of `columns` columns, with rows padded to whole groups; or a stack of such matrices.

    Attributes:
        n_experts: Matrices in a stack, whose rows follow one another; None for a single matrix.
        zeros: Zero points: codes for `Zero.WHOLE`, numbers for `Zero.ANY`, None for `Zero.MIDDLE`.
    """

    scheme: Scheme
    columns: int
    codes: UInt8[np.ndarray, "row bytes"]
    scales: Float32[np.ndarray, "row group"]
    zeros: Shaped[np.ndarray, "row group"] | None = None
    n_experts: int | None = None

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
        """Bytes of codes, scales and zeros."""
        return self.codes.nbytes + self.scales.nbytes + (0 if self.zeros is None else self.zeros.nbytes)

    def zero_points(self) -> Float32[np.ndarray, "row group"]:
        """Zero points as numbers."""
        if self.zeros is None:
            return np.full(self.scales.shape, middle(self.scheme.bits), np.float32)
        return self.zeros.astype(np.float32)

    def dense(self) -> Float32[np.ndarray, "*expert row column"]:
        """The dequantized matrix or stack."""
        dense = np.empty((self.rows, self.columns), np.float32)
        zeros = self.zero_points()
        for rows in _row_blocks(self.rows, self.columns):
            codes = codes_from_bytes(self.codes[rows], self.scheme.bits).astype(np.float32)
            grouped = codes.reshape(len(codes), -1, self.scheme.group) - zeros[rows][..., None]
            dense[rows] = (grouped * self.scales[rows][..., None]).reshape(len(codes), -1)[:, : self.columns]
        return dense.reshape(self.shape)


@runtime_checkable
class StoredMatrix(Protocol):
    """A quantized matrix that can be read from a file."""

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


def codes_to_bytes(codes: UInt8[np.ndarray, "*rows codes"], bits: int) -> Codes:
    """Codes as bytes: with 4 bits, two codes per byte, so a row needs an even number of codes."""
    return codes if bits == 8 else codes[..., 0::2] | (codes[..., 1::2] << 4)


def codes_from_bytes(quantized: Codes, bits: int) -> UInt8[np.ndarray, "*rows codes"]:
    """The inverse of `codes_to_bytes`."""
    if bits == 8:
        return quantized
    return np.stack([quantized & 15, quantized >> 4], axis=-1).reshape(*quantized.shape[:-1], -1)


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
    for block in _row_blocks(rows, columns):
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


def _row_blocks(rows: int, columns: int) -> list[slice]:
    step = max(1, _BLOCK // max(1, columns))
    return [slice(first, min(first + step, rows)) for first in range(0, rows, step)]
