"""Integer codes as bytes: one bit stream per row, lowest bits first.

MLX reads this layout as uint32 for every width. With 4 and 8 bits it is also that of ONNX Runtime's `MatMulNBits`.

Neighbors are joined in lanes of 16 bits, then of 32 and 64, until codes fill whole bytes. Each half of a lane has some
codes and zeros above them; a step removes the zeros between the halves, in all lanes together.
"""

from typing import Any

import numpy as np
from jaxtyping import UInt8

_LANES: dict[int, tuple[type[np.unsignedinteger[Any]], ...]] = {
    2: (np.uint16, np.uint32),
    3: (np.uint16, np.uint32, np.uint64),
    4: (np.uint16,),
    5: (np.uint16, np.uint32, np.uint64),
    6: (np.uint16, np.uint32),
}


def codes_to_bytes(codes: UInt8[np.ndarray, "*rows codes"], bits: int) -> UInt8[np.ndarray, "*rows bytes"]:
    """Codes as bytes. A row needs whole lanes: multiples of 2 codes with 4 bits, of 4 with 2 or 6, of 8 with 3 or 5."""
    if bits == 8:
        return codes
    joined: np.ndarray = np.ascontiguousarray(codes)
    for lane in _LANES[bits]:
        joined = joined.view(lane)
        half, gap = _half_and_gap(lane, bits)
        joined = joined - (joined >> lane(half)) * lane(gap)
    return _first_bytes(joined, joined.itemsize * bits // 8).reshape(*codes.shape[:-1], -1)


def codes_from_bytes(stored: UInt8[np.ndarray, "*rows bytes"], bits: int) -> UInt8[np.ndarray, "*rows codes"]:
    """The inverse of `codes_to_bytes`."""
    if bits == 8:
        return stored
    lanes = _LANES[bits]
    joined = _from_first_bytes(stored, np.dtype(lanes[-1]), np.dtype(lanes[-1]).itemsize * bits // 8)
    for lane in reversed(lanes):
        joined = joined.view(lane)
        half, gap = _half_and_gap(lane, bits)
        joined = joined + (joined >> lane(half * bits // 8)) * lane(gap)
    return joined.view(np.uint8).reshape(*stored.shape[:-1], -1)


def _half_and_gap(lane: type[np.unsignedinteger[Any]], bits: int) -> tuple[int, int]:
    """Bits of half a lane, and by how much its upper codes count less once they follow the lower ones without a gap."""
    half = np.dtype(lane).itemsize * 4
    return half, (1 << half) - (1 << half * bits // 8)


def _first_bytes(lanes: np.ndarray, used: int) -> UInt8[np.ndarray, "*lanes used"]:
    """The lowest bytes of each lane."""
    if used == 1:
        return lanes.astype(np.uint8)[..., None]
    each = lanes[..., None].view(np.uint8)
    stored = np.empty((*lanes.shape, used), np.uint8)
    for at in range(used):  # numpy copies few long columns faster than many short rows
        stored[..., at] = each[..., at]
    return stored


def _from_first_bytes(stored: UInt8[np.ndarray, "*rows bytes"], lane: np.dtype[Any], used: int) -> np.ndarray:
    """Lanes whose lowest bytes are given, the others 0."""
    if used == 1:
        return stored.astype(lane, order="C")
    runs = stored.reshape(*stored.shape[:-1], -1, used)
    each = np.zeros((*runs.shape[:-1], lane.itemsize), np.uint8)
    for at in range(used):
        each[..., at] = runs[..., at]
    return each.view(lane)[..., 0]
