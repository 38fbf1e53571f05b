"""Bytes of weights that a runtime must read for one token, by how it stores them."""

from collections.abc import Callable
from math import prod

from models.precision import Scheme, Zero
from models.quantized import groups_of, row_bytes
from tests.bench.checkpoint import Shape

Reads = Callable[[Shape], int]
"""Bytes read for one token. The embedding counts once, as the head: of itself one row is read."""

_Q4_0_BLOCK, _Q4_0_BYTES = 32, 18
"""Codes of 32 weights and one float16 scale."""


def matrices(shape: Shape) -> list[tuple[int, int]]:
    """Rows and columns of each."""
    return [(size[0], size[1]) for size in shape.tensors.values() if len(size) == 2]


def dense(shape: Shape) -> int:
    """Float32."""
    return shape.float32_bytes


def q4_0(shape: Shape) -> int:
    """llama.cpp's blocks."""
    return sum(prod(size) // _Q4_0_BLOCK * _Q4_0_BYTES for size in matrices(shape))


def grouped(scheme: Scheme) -> Reads:
    """Edge's codes, scales and zeros, as `MatMulNBits` takes them."""

    def reads(shape: Shape) -> int:
        total = 0
        for rows, columns in matrices(shape):
            groups = groups_of(columns, scheme)
            zeros = -(-groups * scheme.bits // 8) if scheme.zero is Zero.WHOLE else 0
            total += rows * (row_bytes(columns, scheme) + 4 * groups + zeros)
        return total

    return reads
