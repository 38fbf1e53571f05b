"""Bytes of weights that a runtime reads per token, for each storage format."""

from collections.abc import Callable
from math import prod

from models.precision import Scheme, Zero
from models.quantized import groups_of, row_bytes
from tests.bench.checkpoint import Shape

Reads = Callable[[Shape], int]
"""Bytes read per token. A tied embedding counts once, as the head; the embedding itself reads one row. A mixture
reads the chosen experts."""

_Q4_0_BLOCK, _Q4_0_BYTES = 32, 18
"""A block has the codes of 32 weights and one float16 scale."""


def matrices(shape: Shape) -> list[tuple[int, int]]:
    """Rows and columns of each matrix that a token reads."""
    return [(size[0], size[1]) for size in shape.read_tensors.values() if len(size) == 2]


def dense(shape: Shape) -> int:
    """Bytes in float32."""
    return 4 * sum(prod(size) for size in shape.read_tensors.values())


def q4_0(shape: Shape) -> int:
    """Bytes in the Q4_0 blocks of llama.cpp."""
    return sum(prod(size) // _Q4_0_BLOCK * _Q4_0_BYTES for size in matrices(shape))


def grouped(scheme: Scheme) -> Reads:
    """Bytes of codes, scales and zero points in Edge, in the layout of `MatMulNBits`."""

    def reads(shape: Shape) -> int:
        total = 0
        for rows, columns in matrices(shape):
            groups = groups_of(columns, scheme)
            zeros = -(-groups * scheme.bits // 8) if scheme.zero is Zero.WHOLE else 0
            total += rows * (row_bytes(columns, scheme) + 4 * groups + zeros)
        return total

    return reads
