"""Converts values to one byte each, and back. A page contains these bytes instead of floats."""

import base64
import zlib

import numpy as np
from jaxtyping import Bool, Float, Float64, UInt8

from edge.picture.levels import Linear, Log, Scale

BYTE_LEVELS = 254
"""Number of levels of a value: 256 values of a byte minus the two special ones."""

HIDDEN_LEVEL, UNKNOWN_LEVEL = 0, 255
"""Bytes outside the levels 1 to 254: a cell without a value, and a cell whose value is NaN.

Hidden is the lowest byte and unknown the highest, so that a block has the largest byte of its cells.
"""


def to_byte_levels(
    value: Float[np.ndarray, "*shape"], scale: Scale, hidden: Bool[np.ndarray, "*shape"] | None = None
) -> UInt8[np.ndarray, "*shape"]:
    """The nearest level of each value: 1 at the scale's low and below, 254 at its high and above."""
    place = scale.place(value.astype(np.float32, copy=False))
    step = np.nan_to_num(np.clip(place, 0.0, 1.0) * (BYTE_LEVELS - 1)).round().astype(np.uint8)
    level: UInt8[np.ndarray, "*shape"] = np.where(np.isnan(place), np.uint8(UNKNOWN_LEVEL), step + np.uint8(1))
    if hidden is not None:
        level[hidden] = HIDDEN_LEVEL
    return level


def level_values(scale: Scale) -> Float64[np.ndarray, " level"]:
    """The values of the levels 1 to 254, in the unit of the scale."""
    place = np.linspace(0.0, 1.0, BYTE_LEVELS)
    match scale:
        case Linear(low, high):
            return np.asarray(low + place * (high - low))
        case Log(low, high):
            return np.asarray(low * (high / low) ** place)


def blocks(levels: UInt8[np.ndarray, "*shape row column"], side: int) -> UInt8[np.ndarray, "*shape rows columns"]:
    """The largest level of each `side` x `side` block; the last blocks may be smaller."""
    *outer, rows, columns = levels.shape
    padding = [(0, 0)] * len(outer) + [(0, -rows % side), (0, -columns % side)]
    padded = np.pad(levels, padding, constant_values=HIDDEN_LEVEL)
    return np.asarray(padded.reshape(*outer, -(-rows // side), side, -(-columns // side), side).max(axis=(-3, -1)))


def quantized_text(levels: UInt8[np.ndarray, "*shape"]) -> str:
    """The bytes in row-major order, deflated (RFC 1950), as base64."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(levels).tobytes(), 9)).decode("ascii")


def from_quantized_text(text: str, shape: tuple[int, ...]) -> UInt8[np.ndarray, "*shape"]:
    """The inverse of `quantized_text`."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(shape)
