"""Converts a quantized matrix to the parts that operators read. No weight changes.

With offsets, codes are moved so that the middle one stands for 0, and the offsets are adjusted: products that round
their inputs are then the most exact.
"""

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray

from export.operands import PLANE_BITS, Operand
from models.code_bytes import codes_from_bytes, codes_to_bytes
from models.precision import Zero
from models.quantized import QuantizedMatrix, middle, row_blocks

_PLANE = 1 << PLANE_BITS
"""How much a code of the high plane counts."""


def values_of(operand: Operand, matrix: QuantizedMatrix) -> dict[str, NDArray[np.generic]]:
    """The parts of a matrix, in the order and shapes of `operand.parts`. Parts that stay as they are share memory."""
    values: dict[str, NDArray[np.generic]] = {"codes": _codes(operand, matrix), "scales": _scales(operand, matrix)}
    if operand.has_zeros:
        values["zeros"] = _zeros(operand, matrix)
    if operand.scheme.zero is Zero.OFFSET:
        values["offsets"] = _offsets(operand, matrix)
    if operand.scheme.ordered:
        assert matrix.order is not None
        order = np.argsort(matrix.order) if operand.parameter == "embed.weight" else matrix.order
        values["order"] = order.astype(np.int32)
    return {part: values[part].reshape(shape) for part, (_, shape) in operand.parts.items()}


def _shift(operand: Operand, matrix: QuantizedMatrix) -> int:
    """What is added to codes: the middle stays the middle, whole zeros stay as they are."""
    if operand.scheme.zero is Zero.WHOLE:
        return 0
    return middle(operand.scheme.bits) - middle(matrix.scheme.bits)


def _codes(operand: Operand, matrix: QuantizedMatrix) -> UInt8[np.ndarray, "row bytes"]:
    if operand.bits == matrix.scheme.bits:
        return matrix.codes
    shift = np.uint8(_shift(operand, matrix))
    codes = np.empty((matrix.rows, operand.padded * operand.scheme.bits // 8), np.uint8)
    for rows in row_blocks(matrix.rows, matrix.columns):
        wide = codes_from_bytes(matrix.codes[rows], matrix.scheme.bits) + shift
        codes[rows] = codes_to_bytes(_in_planes(wide) if operand.has_planes else wide, operand.bits)
    return codes


def _in_planes(codes: UInt8[np.ndarray, "row code"]) -> UInt8[np.ndarray, "row both"]:
    """High halves, then low halves."""
    return np.concatenate([codes >> PLANE_BITS, codes & (_PLANE - 1)], axis=1)


def _scales(operand: Operand, matrix: QuantizedMatrix) -> Float32[np.ndarray, "row stored"]:
    if not operand.has_planes:
        return np.ascontiguousarray(matrix.scales)
    return np.concatenate([np.float32(_PLANE) * matrix.scales, matrix.scales], axis=1)


def _zeros(operand: Operand, matrix: QuantizedMatrix) -> UInt8[np.ndarray, "row bytes"]:
    zeros = matrix.zeros
    if zeros is None:
        zeros = np.full(matrix.scales.shape, middle(operand.scheme.bits), np.uint8)
    zeros = _in_planes(zeros) if operand.has_planes else zeros
    if operand.bits == PLANE_BITS:
        zeros = np.pad(zeros, ((0, 0), (0, zeros.shape[1] % 2)))  # two in a byte
    return codes_to_bytes(zeros, operand.bits)


def _offsets(operand: Operand, matrix: QuantizedMatrix) -> Float32[np.ndarray, "*expert group row"]:
    """The weight of the code that operators take for 0, in float64 until it is rounded once."""
    assert matrix.offsets is not None
    code = (_PLANE + 1) * middle(PLANE_BITS) if operand.has_planes else middle(operand.scheme.bits)
    offsets = matrix.offsets + np.float64(code - _shift(operand, matrix)) * matrix.scales
    by_group = offsets.astype(np.float32).reshape(*operand.shape[:-1], -1).swapaxes(-1, -2)
    return np.ascontiguousarray(by_group)
