"""Labels and colors of the 254 levels of a scale, computed once so that the page's script only looks them up."""

import math
from collections.abc import Callable
from typing import Any

from edge.picture.levels import Linear, Log, Scale, to_levels
from edge.picture.palettes import CIVIDIS, Palette, contrast
from edge.picture.units import Number
from edge.report.byte_levels import BYTE_LEVELS, level_values
from edge.report.markup import hexadecimal

Show = Callable[[Number], str]

PALETTE = CIVIDIS


def two_digits(value: Number) -> str:
    """`0.5834` is `0.58`, `0.8` is `0.80`, `0.00012` is `0.00012`: the precision of a level of a log scale."""
    return f"{value:.{max(0, 1 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def briefly(value: Number) -> str:
    """The number at an end of a scale: `0.0001`, `1`."""
    return f"{value:g}"


def labels(scale: Scale, show: Show) -> list[str]:
    """The value of each of the levels 1 to 254, as text."""
    return [show(float(value)) for value in level_values(scale)]


def color_steps(kept: Scale, shown: Scale) -> list[int]:
    """The level of the palette for each stored level, if values are stored on one scale and shown on another."""
    return [int(level) for level in to_levels(level_values(kept), shown)]


def ends(scale: Scale, show: Show) -> list[str]:
    """The lowest and the highest value of a scale, for its legend."""
    return [show(scale.low), show(scale.high)]


def palette_record(palette: Palette) -> dict[str, list[str]]:
    """Each color, and the text color with the best contrast on it."""
    return {
        "colors": [hexadecimal(color) for color in palette.colors],
        "inks": [hexadecimal(contrast(color)) for color in palette.colors],
    }


def scale_record(scale: Scale, show: Show) -> dict[str, Any]:
    """The record of a scale on which values are both stored and shown."""
    return {"labels": labels(scale, show), "colors": color_steps(scale, scale), "ends": ends(scale, show)}


def exactness(scale: Scale, show: Show) -> str:
    """A sentence about how the page stores values: the number of levels, and the largest rounding error."""
    half = 0.5 / (BYTE_LEVELS - 1)
    match scale:
        case Linear(low, high):
            off = show(half * (high - low))
        case Log(low, high):
            off = f"{100 * ((high / low) ** half - 1):.1f}% of the value"
    steps = f"{BYTE_LEVELS} levels from {show(scale.low)} to {show(scale.high)}"
    return f"This page stores {steps}, with an error of at most {off}."
