"""Takes apart the blocks of GGUF files that have 256 weights, with a small whole number for each group's scale.

The scale of a group is that number times the scale of the block, and so is its offset: exact products in float32.
"""

import numpy as np
from jaxtyping import Float32, Int8, UInt8

from models.code_bytes import codes_from_bytes
from models.sources.gguf.parts import Blocks, Parts, field_bytes, field_numbers, planes
from models.sources.gguf.small_blocks import IQ4_VALUES, looked_up


def q2_k(blocks: Blocks) -> Parts:
    """Low nibbles are the groups' scales, high ones what is subtracted."""
    groups = field_bytes(blocks, "groups")
    return _with_offsets(blocks, planes(field_bytes(blocks, "codes"), 2, 32), groups & 15, groups >> 4)


def q3_k(blocks: Blocks) -> Parts:
    """The third bits of codes are stored separately, and so are the top two of the six bits of each group's scale."""
    codes = planes(field_bytes(blocks, "codes"), 2, 32) | planes(field_bytes(blocks, "third"), 1, 32) << 2
    groups = planes(field_bytes(blocks, "low"), 4, 8) | planes(field_bytes(blocks, "high"), 2, 4) << 4
    return Parts(codes, _times_d(blocks, groups.view(np.int8) - np.int8(32)))


def q4_k_or_q5_k(blocks: Blocks) -> Parts:
    """Nibbles in runs of 32, and separately the fifth bits of Q5_K."""
    codes = planes(field_bytes(blocks, "codes"), 4, 32)
    if "fifth" in (blocks.dtype.names or ()):
        codes |= planes(field_bytes(blocks, "fifth"), 1, 32) << 4
    # Of 12 bytes, the low six bits of the first 8 are the scales and the offsets of groups 0 to 3. The last 4 have the
    # low nibbles of groups 4 to 7, whose top bits are those of the first 8. Four bytes are one number here.
    scales, offsets, nibbles = field_bytes(blocks, "groups").view(np.uint32).reshape(-1, 3).T
    later_scales = nibbles & 0x0F0F0F0F | scales >> 2 & 0x30303030
    later_offsets = nibbles >> 4 & 0x0F0F0F0F | offsets >> 2 & 0x30303030
    return _with_offsets(
        blocks,
        codes,
        np.stack([scales & 0x3F3F3F3F, later_scales], axis=-1).view(np.uint8).reshape(-1),
        np.stack([offsets & 0x3F3F3F3F, later_offsets], axis=-1).view(np.uint8).reshape(-1),
    )


def q6_k(blocks: Blocks) -> Parts:
    """Low nibbles, and separately the top pairs of bits, both in halves of 128 weights."""
    codes = planes(field_bytes(blocks, "codes"), 4, 64) | planes(field_bytes(blocks, "pairs"), 2, 32) << 4
    return Parts(codes, _times_d(blocks, field_bytes(blocks, "groups").view(np.int8)))


def iq4_xs(blocks: Blocks) -> Parts:
    """As IQ4_NL, with six bits for each group's scale, the top two stored separately."""
    codes = looked_up(planes(field_bytes(blocks, "codes"), 4, 16), IQ4_VALUES, 128)
    groups = codes_from_bytes(field_bytes(blocks, "low"), 4) | codes_from_bytes(field_bytes(blocks, "high"), 2) << 4
    return Parts(codes, _times_d(blocks, groups.view(np.int8) - np.int8(32)))


def _times_d(
    blocks: Blocks, groups: UInt8[np.ndarray, " number"] | Int8[np.ndarray, " number"]
) -> Float32[np.ndarray, "block group"]:
    return field_numbers(blocks, "d") * groups.reshape(len(blocks), -1).astype(np.float32)


def _with_offsets(
    blocks: Blocks,
    codes: UInt8[np.ndarray, " code"],
    scales: UInt8[np.ndarray, " number"],
    subtracted: UInt8[np.ndarray, " number"],
) -> Parts:
    offsets = -field_numbers(blocks, "m") * subtracted.reshape(len(blocks), -1).astype(np.float32)
    return Parts(codes, _times_d(blocks, scales), offsets)
