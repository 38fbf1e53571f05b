"""Takes apart the blocks of GGUF files that have one scale."""

import numpy as np
from jaxtyping import UInt8

from models.sources.gguf.parts import Blocks, Parts, field_bytes, field_numbers, planes

IQ4_VALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
MXFP4_VALUES = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)


def halves(blocks: Blocks) -> Parts:
    """Q4_0, Q4_1, Q5_0, Q5_1: the first 16 weights in low nibbles, the others in high ones, fifth bits separately."""
    fields = blocks.dtype.names or ()
    codes = planes(field_bytes(blocks, "codes"), 4, 16)
    if "fifth" in fields:
        codes |= np.unpackbits(field_bytes(blocks, "fifth"), bitorder="little") << 4
    return Parts(codes, field_numbers(blocks, "d"), field_numbers(blocks, "m") if "m" in fields else None)


def q8_0(blocks: Blocks) -> Parts:
    """Signed codes, which become unsigned by 128 more: the highest bit changes."""
    return Parts(field_bytes(blocks, "codes") ^ np.uint8(128), field_numbers(blocks, "d"))


def iq4_nl(blocks: Blocks) -> Parts:
    """Nibbles that stand for listed values."""
    nibbles = planes(field_bytes(blocks, "codes"), 4, 16)
    return Parts(looked_up(nibbles, IQ4_VALUES, 128), field_numbers(blocks, "d"))


def mxfp4(blocks: Blocks) -> Parts:
    """The values are floats of four bits, doubled, and the scale is half a power of two."""
    nibbles = planes(field_bytes(blocks, "codes"), 4, 16)
    scales = np.ldexp(np.float32(1), blocks["exponent"].astype(np.int32)[:, None] - 128)
    return Parts(looked_up(nibbles, MXFP4_VALUES, 16), scales)


def tq2_0(blocks: Blocks) -> Parts:
    """Codes 0, 1, 2 of the weights -1, 0, 1; both groups of a block have its scale."""
    return Parts(planes(field_bytes(blocks, "codes"), 2, 32), np.repeat(field_numbers(blocks, "d"), 2, axis=1))


def q1_0(blocks: Blocks) -> Parts:
    """One bit a weight, 1 for a positive one."""
    return Parts(np.unpackbits(field_bytes(blocks, "signs"), bitorder="little") << 1, field_numbers(blocks, "d"))


def looked_up(nibbles: UInt8[np.ndarray, " code"], values: tuple[int, ...], middle: int) -> UInt8[np.ndarray, " code"]:
    """The codes of the values that nibbles stand for."""
    table = bytes(value + middle for value in values).ljust(256, b"\0")
    # `bytes.translate` is faster here than numpy, which would first make an index of 8 bytes of each nibble.
    return np.frombuffer(nibbles.tobytes().translate(table), np.uint8)
