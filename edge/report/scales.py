"""What each fine level of a scale is called and how it is colored, made once so that the page only looks it up."""

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
    """`0.5834` is `0.58`, `0.8` is `0.80`, `0.00012` is `0.00012`: as much as a level of a log scale is good for."""
    return f"{value:.{max(0, 1 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def briefly(value: Number) -> str:
    """The end of a scale: `0.0001`, `1`."""
    return f"{value:g}"


def labels(scale: Scale, show: Show) -> list[str]:
    """What the levels 1 to 254 stand for, as people read it."""
    return [show(float(value)) for value in level_values(scale)]


def color_steps(kept: Scale, shown: Scale) -> list[int]:
    """Of a palette, for each level of the scale that values are kept on, when they are shown on another."""
    return [int(level) for level in to_levels(level_values(kept), shown)]


def ends(scale: Scale, show: Show) -> list[str]:
    """The lowest and highest value of a scale, for its legend."""
    return [show(scale.low), show(scale.high)]


def palette_record(palette: Palette) -> dict[str, list[str]]:
    """Each color, and the ink that reads on it."""
    return {
        "colors": [hexadecimal(color) for color in palette.colors],
        "inks": [hexadecimal(contrast(color)) for color in palette.colors],
    }


def scale_record(scale: Scale, show: Show) -> dict[str, Any]:
    """A scale that values are kept and shown on."""
    return {"labels": labels(scale, show), "colors": color_steps(scale, scale), "ends": ends(scale, show)}


def exactness(scale: Scale, show: Show) -> str:
    """How many levels the page keeps, and how far a value is from its level at most."""
    half = 0.5 / (BYTE_LEVELS - 1)
    match scale:
        case Linear(low, high):
            off = f"±{show(half * (high - low))}"
        case Log(low, high):
            off = f"±{100 * ((high / low) ** half - 1):.1f}% of the value"
    return f"{BYTE_LEVELS} levels from {show(scale.low)} to {show(scale.high)}, {off}"
