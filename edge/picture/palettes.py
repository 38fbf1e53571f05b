"""Color scales with increasing lightness, readable in grayscale and with color blindness."""

from dataclasses import dataclass

import numpy as np

from edge.picture.levels import LEVELS

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """One color for each level, from lowest to highest."""

    name: str
    colors: tuple[RGB, ...]


def _interpolate(name: str, anchors: str) -> Palette:
    """Interpolates linearly in sRGB between evenly spaced anchor colors, given in hexadecimal."""
    corner = np.array([list(bytes.fromhex(anchor)) for anchor in anchors.split()], np.float64)
    at = np.linspace(0, len(corner) - 1, LEVELS)
    mixed = np.stack([np.interp(at, np.arange(len(corner)), corner[:, channel]) for channel in range(3)], axis=1)
    return Palette(name, tuple((int(red), int(green), int(blue)) for red, green, blue in mixed.round()))


# Designed to look the same with red-green color deficiency: Nuñez et al. 2018, PLOS ONE 13(7) e0199239.
CIVIDIS = _interpolate("cividis", "00204d 00336f 39486b 575c6d 707173 8a8779 a69d75 c4b56c e4cf5b ffea46")

INFERNO = _interpolate("inferno", "000004 1b0c42 4b0c6b 781c6d a52c60 cf4446 ed6925 fb9a06 f7d03c fcffa4")

PALETTES = (CIVIDIS, INFERNO)

# For differences: negative is blue, positive is yellow, zero is gray. In grayscale, negative is darker than zero.
SIGNED = _interpolate("signed", "10206e 1c3fa0 3f66bd 6c7fa6 808080 a39a78 cbb862 ecd44f fff06a")


def lightness(color: RGB) -> float:
    """Lightness of a color, 0 to 1: the luma of Rec. 601, which terminals use for grayscale."""
    red, green, blue = color
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255


def contrast(color: RGB) -> RGB:
    """Black or white, whichever has more contrast with `color`."""
    return (0, 0, 0) if lightness(color) > 0.5 else (255, 255, 255)
