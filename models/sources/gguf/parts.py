"""What a block of a GGUF file is taken apart into, and the order of bits that most kinds of blocks share."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Shaped, UInt8

Blocks = Shaped[np.ndarray, " block"]
"""Blocks as records, whose fields are those of their layout."""


@dataclass(frozen=True)
class Parts:
    """Codes, one in a byte, and the scale and offset of each group, in the order of the weights."""

    codes: UInt8[np.ndarray, " code"]
    scales: Float32[np.ndarray, "block group"]
    offsets: Float32[np.ndarray, "block group"] | None = None


def field_bytes(blocks: Blocks, field: str) -> UInt8[np.ndarray, " byte"]:
    """The bytes of one field of all blocks."""
    return np.ascontiguousarray(blocks[field]).view(np.uint8)


def field_numbers(blocks: Blocks, field: str) -> Float32[np.ndarray, "block 1"]:
    """The number that one field holds, in each block."""
    return blocks[field].astype(np.float32)[:, None]


def planes(stored: UInt8[np.ndarray, " byte"], bits: int, run: int) -> UInt8[np.ndarray, " code"]:
    """Codes in runs of bytes: first the lowest bits of each byte of a run, then the next bits of each, and so on."""
    lanes, mask = stored.view(np.uint32), np.uint32(((1 << bits) - 1) * 0x01010101)  # four bytes in one step
    codes = np.empty((len(stored) // run, 8 // bits), f"V{run}")
    for plane in range(8 // bits):
        codes[:, plane] = (lanes >> np.uint32(plane * bits) & mask).view(codes.dtype)
    return codes.view(np.uint8).reshape(-1)
