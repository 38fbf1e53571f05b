"""Terminal styles for color levels, cached."""

from functools import lru_cache

from rich.color import Color
from rich.style import Style

from edge.picture.levels import LEVELS
from edge.picture.palettes import RGB, Palette, contrast


class PaletteStyles:
    """A palette on a background. Levels above the palette (hidden, unknown) take the background's color."""

    def __init__(self, palette: Palette, background: RGB) -> None:
        self.palette, self.background = palette, background
        self._pairs: dict[int, Style] = {}

    def color(self, level: int) -> RGB:
        return self.palette.colors[level] if level < LEVELS else self.background

    def pair(self, upper: int, lower: int) -> Style:
        """For `▀`: the foreground paints the upper pixel of a cell, the background the lower one."""
        key = upper * 256 + lower
        if key not in self._pairs:
            self._pairs[key] = paint(self.color(upper), self.color(lower))
        return self._pairs[key]

    def block(self, level: int) -> Style:
        """For text on a colored cell."""
        color = self.color(level)
        return paint(contrast(color), color)

    def gradient(self, cells: int) -> list[Style]:
        """The whole scale, lowest first, as styles of blank cells."""
        return [
            self.pair(level, level) for level in (cell * (LEVELS - 1) // max(1, cells - 1) for cell in range(cells))
        ]


@lru_cache(8192)
def paint(foreground: RGB, background: RGB) -> Style:
    """A style of two plain colors."""
    return Style(color=Color.from_rgb(*foreground), bgcolor=Color.from_rgb(*background))
