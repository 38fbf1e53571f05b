"""Maps numbers to levels of a color scale, for the terminal and for pages."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

LEVELS = 32
"""Number of levels of a color scale. The 32² styles of half-block cells can all be cached."""

HIDDEN = LEVELS
"""Level of a cell without a value, such as a key that a token cannot attend to."""

UNKNOWN = LEVELS + 1
"""Level of a cell whose value is NaN. It has no color, so that it cannot be mistaken for a value."""


@dataclass(frozen=True)
class Linear:
    """Equal steps from `low` to `high`, in the unit of the values."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.high > self.low:
            raise ValueError(f"a color scale needs low < high, got {self.low:g} .. {self.high:g}")

    def place(self, value: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Position of each value on the scale: 0 is `low`, 1 is `high`."""
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
        """Position of the logarithm of each value: 0 is `low` and below, 1 is `high`."""
        floor = np.where(np.isnan(value), value, np.maximum(value, self.low))
        return np.asarray(np.log(floor / self.low) / np.log(self.high / self.low))


Scale = Linear | Log


def to_levels(
    value: Float[np.ndarray, "*shape"], scale: Scale, hidden: Bool[np.ndarray, "*shape"] | None = None
) -> UInt8[np.ndarray, "*shape"]:
    """Maps values to color levels: `low` and below to 0, `high` and above to the last level.

    Cells of `hidden` become HIDDEN, and NaN becomes UNKNOWN.
    """
    place = scale.place(value.astype(np.float32, copy=False))
    level: UInt8[np.ndarray, "*shape"] = np.nan_to_num(np.clip(place, 0.0, 1.0) * (LEVELS - 1)).round().astype(np.uint8)
    level[np.isnan(place)] = UNKNOWN
    if hidden is not None:
        level[hidden] = HIDDEN
    return level


def pool_levels(level: UInt8[np.ndarray, "row column"], block: int, middle: float = 0.0) -> UInt8[np.ndarray, "r c"]:
    """Pools squares of `block` rows and columns to the level furthest from `middle`, so that no peak is lost.

    A square with an UNKNOWN cell is UNKNOWN; a square of only hidden cells is HIDDEN.
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
