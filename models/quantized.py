"""One matrix in groups of whole numbers: made once, read alike by every engine.

    weight[row, column] = scale[row, group] · (code[row, column] - zero[row, group])    group = column // scheme.group

Codes lie side by side in bytes, the first of two in the lower half: so ONNX Runtime's `MatMulNBits` reads them, and,
four bytes at a time, `mx.quantized_matmul`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Shaped, UInt8

from models.precision import Scheme, Zero

_BLOCK = 1 << 20
"""Numbers that are rounded together, so that a large matrix needs little memory beside itself."""

Codes = UInt8[np.ndarray, "*rows bytes"]


@dataclass(frozen=True)
class QuantizedMatrix:
    """A matrix of `columns` columns, each row filled up to whole groups.

    Attributes:
        zeros: Codes where the scheme's zero is whole, numbers where it is any; None where it is the middle.
    """

    scheme: Scheme
    columns: int
    codes: UInt8[np.ndarray, "row bytes"]
    scales: Float32[np.ndarray, "row group"]
    zeros: Shaped[np.ndarray, "row group"] | None = None

    @property
    def rows(self) -> int:
        return len(self.codes)

    @property
    def nbytes(self) -> int:
        """Bytes of codes, scales and zeros."""
        return self.codes.nbytes + self.scales.nbytes + (0 if self.zeros is None else self.zeros.nbytes)

    def zero_points(self) -> Float32[np.ndarray, "row group"]:
        """The code of 0, as a number."""
        if self.zeros is None:
            return np.full(self.scales.shape, middle(self.scheme.bits), np.float32)
        return self.zeros.astype(np.float32)

    def dense(self) -> Float32[np.ndarray, "row column"]:
        """The weights that the codes stand for."""
        dense = np.empty((self.rows, self.columns), np.float32)
        zeros = self.zero_points()
        for rows in _row_blocks(self.rows, self.columns):
            codes = unpack_codes(self.codes[rows], self.scheme.bits).astype(np.float32)
            grouped = codes.reshape(len(codes), -1, self.scheme.group) - zeros[rows][..., None]
            dense[rows] = (grouped * self.scales[rows][..., None]).reshape(len(codes), -1)[:, : self.columns]
        return dense


@runtime_checkable
class StoredMatrix(Protocol):
    """Where a quantized matrix lies, and how."""

    @property
    def scheme(self) -> Scheme: ...

    def read(self) -> QuantizedMatrix: ...


class QuantizedMatrices(Mapping[str, QuantizedMatrix]):
    """Quantized parameters by Edge's name, read when they are asked for."""

    def __init__(self, stored: Mapping[str, StoredMatrix] | None = None) -> None:
        self._stored = stored or {}

    @property
    def schemes(self) -> dict[str, Scheme]:
        """How each is quantized; nothing is read for it."""
        return {name: matrix.scheme for name, matrix in self._stored.items()}

    def __getitem__(self, name: str) -> QuantizedMatrix:
        return self._stored[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


def middle(bits: int) -> int:
    """The code with as many codes below it as from it on."""
    return 1 << (bits - 1)


def groups_of(columns: int, scheme: Scheme) -> int:
    """Groups of one row."""
    return -(-columns // scheme.group)


def row_bytes(columns: int, scheme: Scheme) -> int:
    """Bytes that the codes of one row take."""
    return groups_of(columns, scheme) * scheme.group * scheme.bits // 8


def pack_codes(codes: UInt8[np.ndarray, "*rows codes"], bits: int) -> Codes:
    """Codes side by side in bytes; of 4 bits, an even number in each row."""
    return codes if bits == 8 else codes[..., 0::2] | (codes[..., 1::2] << 4)


def unpack_codes(quantized: Codes, bits: int) -> UInt8[np.ndarray, "*rows codes"]:
    """What `pack_codes` was given."""
    if bits == 8:
        return quantized
    return np.stack([quantized & 15, quantized >> 4], axis=-1).reshape(*quantized.shape[:-1], -1)


def quantize_matrix(matrix: Float[np.ndarray, "row column"], scheme: Scheme) -> QuantizedMatrix:
    """Rounds every weight to the nearest code of its group; the codes span the group's weights and 0.

    With a whole zero, `scale = (largest - smallest) / (2^bits - 1)`. With the middle as zero, the weight of the largest
    size gets code 0: `scale = -largest / 2^(bits - 1)`, which uses all codes, as llama.cpp's q4_0 does.

    Raises:
        ValueError: some weights are not finite, or lie too far apart for a scale in float32.
    """
    rows, columns = matrix.shape
    groups = groups_of(columns, scheme)
    codes = np.empty((rows, row_bytes(columns, scheme)), np.uint8)
    scales = np.empty((rows, groups), np.float32)
    zeros = np.full((rows, groups), middle(scheme.bits), np.uint8)
    for block in _row_blocks(rows, columns):
        some = np.asarray(matrix[block], np.float32)
        filled = np.pad(some, ((0, 0), (0, groups * scheme.group - columns))).reshape(len(some), groups, -1)
        scales[block], zeros[block] = _scales_and_zeros(filled, scheme)
        rounded = np.rint(filled / scales[block][..., None]) + zeros[block][..., None]
        found = np.clip(rounded, 0, 2**scheme.bits - 1).astype(np.uint8)
        codes[block] = pack_codes(found.reshape(len(some), -1), scheme.bits)
    return QuantizedMatrix(scheme, columns, codes, scales, None if scheme.zero is Zero.MIDDLE else zeros)


def _scales_and_zeros(
    grouped: Float32[np.ndarray, "row group column"], scheme: Scheme
) -> tuple[Float32[np.ndarray, "row group"], UInt8[np.ndarray, "row group"]]:
    """Both for each group; a group of zeros has the scale 1."""
    smallest, largest = np.minimum(grouped.min(axis=-1), 0), np.maximum(grouped.max(axis=-1), 0)
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(largest - smallest).all():
            raise ValueError("some of its weights are not finite numbers, or lie too far apart")
    if scheme.zero is Zero.MIDDLE:
        scale = np.where(-smallest >= largest, smallest, largest) / np.float32(-middle(scheme.bits))
        zero = np.full(scale.shape, middle(scheme.bits), np.uint8)
    else:
        scale = (largest - smallest) / np.float32(2**scheme.bits - 1)
        zero = np.rint(-smallest / np.where(scale == 0, 1, scale)).astype(np.uint8)
    # A subnormal scale would lose its digits, and with it the group's; such weights are 0 to any activation.
    flat = np.abs(scale) < np.finfo(np.float32).tiny
    return np.where(flat, np.float32(1), scale), zero


def _row_blocks(rows: int, columns: int) -> list[slice]:
    step = max(1, _BLOCK // max(1, columns))
    return [slice(first, min(first + step, rows)) for first in range(0, rows, step)]
