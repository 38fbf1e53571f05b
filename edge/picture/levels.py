"""Numbers to steps of a color scale, the same for terminal and page."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

LEVELS = 32
"""Steps of a color scale. 32² half-block styles fit every cache."""

HIDDEN = LEVELS
"""The mark of a cell that holds no value, such as a key that a token may not read."""

UNKNOWN = LEVELS + 1
"""The mark of a cell whose value is not a number: never a color, so that it cannot pass for one."""


@dataclass(frozen=True)
class Linear:
    """Equal steps from `low` to `high`, in the unit of the values."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.high > self.low:
            raise ValueError(f"a color scale needs low < high, got {self.low:g} .. {self.high:g}")

    def place(self, value: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Where each value lies on the scale: 0 is `low`, 1 is `high`."""
        return np.asarray((value - self.low) / (self.high - self.low))


@dataclass(frozen=True)
class Log:
    """Equal factors from `low` to `high`, both above 0, in the unit of the values."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.high > self.low > 0:
            raise ValueError(f"a log scale needs 0 < low < high, got {self.low:g} .. {self.high:g}")

    def place(self, value: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Where the logarithm of each value lies: 0 is `low` and everything below it, 1 is `high`."""
        floor = np.where(np.isnan(value), value, np.maximum(value, self.low))
        return np.asarray(np.log(floor / self.low) / np.log(self.high / self.low))


Scale = Linear | Log


def to_levels(
    value: Float[np.ndarray, "*shape"], scale: Scale, hidden: Bool[np.ndarray, "*shape"] | None = None
) -> UInt8[np.ndarray, "*shape"]:
    """Quantizes values to color levels; the scale's low and below is 0, its high and above the last.

    Cells of `hidden` become HIDDEN, those that are not a number UNKNOWN.
    """
    place = scale.place(value.astype(np.float32, copy=False))
    level: UInt8[np.ndarray, "*shape"] = np.nan_to_num(np.clip(place, 0.0, 1.0) * (LEVELS - 1)).round().astype(np.uint8)
    level[np.isnan(place)] = UNKNOWN
    if hidden is not None:
        level[hidden] = HIDDEN
    return level


def pool_levels(level: UInt8[np.ndarray, "row column"], block: int, middle: float = 0.0) -> UInt8[np.ndarray, "r c"]:
    """One level for each square of `block` rows and columns: the furthest from `middle`, so that no peak is lost.

    A square with a cell that is not a number is UNKNOWN; one of hidden cells alone is HIDDEN.
    """
    rows, columns = level.shape
    padded = np.full((-(-rows // block) * block, -(-columns // block) * block), HIDDEN, np.uint8)
    padded[:rows, :columns] = level
    down, right = len(padded) // block, padded.shape[1] // block
    squares = padded.reshape(down, block, right, block).swapaxes(1, 2).reshape(down, right, block * block)
    distance = np.abs(squares - np.float32(middle))
    distance[squares == HIDDEN] = -1.0
    distance[squares == UNKNOWN] = np.inf
    furthest = distance.argmax(axis=-1)[..., None]
    return np.take_along_axis(squares, furthest, axis=-1)[..., 0]
