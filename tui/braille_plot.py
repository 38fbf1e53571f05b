"""Curves as cells of text: lines of braille dots, markers, and round numbers at the axis, without widgets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
from jaxtyping import Int16, UInt8

from edge.lab.claim import Curve, Series
from edge.picture.ticks import ticks

MARKERS = "●■▲×◆▼+○□◇"
"""Markers of the points; with the dashes they distinguish lines without color."""

DASHES = ((True,), (True, True, True, True, False, False), (True, False, False), (True,) * 5 + (False, True, False))
"""Dash patterns of the lines."""

SEVERAL = "∗"
"""Marker of points of several lines in one cell."""

NO_LINE, GRIDLINE, ALL = -1, -2, -3
"""Owner of a cell that does not belong to one line."""

_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of a braille character, by column and row of the dot."""

_BRAILLE = 0x2800

CLOSEST = 2
"""Smallest distance of two markers of a line in cells."""


def marker(place: int) -> str:
    """The marker of a line, by its index."""
    return MARKERS[place % len(MARKERS)]


def sample(place: int) -> str:
    """A sample of a line, five cells wide, for a legend."""
    dash, upper, lower = DASHES[place % len(DASHES)], 0x04, 0x20
    dots = [dash[dot % len(dash)] for dot in range(10)]
    cells = [chr(_BRAILLE | upper * left | lower * right) for left, right in zip(dots[::2], dots[1::2], strict=True)]
    return "".join([*cells[:2], marker(place), *cells[3:]])


@dataclass(frozen=True)
class Picture:
    """A curve in `lines` of `cells`.

    Attributes:
        glyphs: The character of each cell.
        owner: The line of each cell, by index; or one of `NO_LINE`, `GRIDLINE` and `ALL`.
        numbers: Numbers of the y axis, by line.
        columns: The column of each point.
    """

    glyphs: list[list[str]]
    owner: Int16[np.ndarray, "line cell"]
    numbers: dict[int, str]
    columns: list[int]

    @property
    def overlaps(self) -> bool:
        """Whether points of several lines share a cell."""
        return bool((self.owner == ALL).any())


def number_cells(curve: Curve, lines: int) -> int:
    """Width of the numbers of the y axis."""
    return max(len(show_tick(value)) for value in _marks(curve, lines))


def show_tick(value: float) -> str:
    """`0.5`, `−3`."""
    return f"{value:g}".replace("-", "−")


def _marks(curve: Curve, lines: int) -> list[float]:
    """Ticks around all values and zero; about one every three lines."""
    finite = [value for series in curve.series for value in series.values if math.isfinite(value)]
    return ticks(min([0.0, *finite]), max([0.0, *finite]), steps=min(max(lines // 3, 1), 5))


def draw_curve(curve: Curve, cells: int, lines: int, chosen: int | None = None) -> Picture:
    """Draws a curve in `lines` of `cells`; the `chosen` point has a marker on every line."""
    return _Drawing(curve, cells, lines, chosen).picture


class _Drawing:
    """Draws a curve: dots first, then markers."""

    def __init__(self, curve: Curve, cells: int, lines: int, chosen: int | None) -> None:
        self._curve, self._cells, self._lines, self._chosen = curve, cells, lines, chosen
        self._marks = _marks(curve, lines)
        self._bits: UInt8[np.ndarray, "line cell"] = np.zeros((lines, cells), np.uint8)
        self._owner: Int16[np.ndarray, "line cell"] = np.full((lines, cells), NO_LINE, np.int16)

    @cached_property
    def picture(self) -> Picture:
        numbers = self._grid()
        for place, series in enumerate(self._curve.series):
            self._line(place, series)
        glyphs = [[self._glyph(line, cell) for cell in range(self._cells)] for line in range(self._lines)]
        self._points(glyphs)
        columns = [self._dot_x(point) // 2 for point in range(len(self._curve.x))]
        return Picture(glyphs, self._owner, numbers, columns)

    def _dot_x(self, point: int) -> int:
        return int((point + 0.5) * 2 * self._cells / len(self._curve.x))

    def _dot_y(self, value: float) -> int:
        low, high = self._marks[0], self._marks[-1]
        return round((4 * self._lines - 1) * (high - value) / (high - low))

    def _grid(self) -> dict[int, str]:
        """Grid lines at the ticks, except those too close to the previous one."""
        numbers: dict[int, str] = {}
        distance = 2 if self._lines > 3 else 1
        for value in self._marks:
            line = self._dot_y(value) // 4
            if not any(abs(line - other) < distance for other in numbers):
                numbers[line] = show_tick(value)
                self._owner[line] = GRIDLINE
        return numbers

    def _line(self, place: int, series: Series) -> None:
        """Straight lines between adjacent points; a gap where a point is missing."""
        dash, drawn = DASHES[place % len(DASHES)], 0
        for start, (value, after) in enumerate(zip(series.values, series.values[1:], strict=False)):
            if not (math.isfinite(value) and math.isfinite(after)):
                continue
            across = self._dot_x(start + 1) - self._dot_x(start)
            down = self._dot_y(after) - self._dot_y(value)
            steps = max(across, abs(down), 1)
            for step in range(steps):
                if dash[(drawn + step) % len(dash)]:
                    x = self._dot_x(start) + round(across * step / steps)
                    self._dot(place, x, self._dot_y(value) + round(down * step / steps))
            drawn += steps

    def _dot(self, place: int, x: int, y: int) -> None:
        self._bits[y // 4, x // 2] |= _BITS[x % 2][y % 4]
        self._owner[y // 4, x // 2] = place

    def _glyph(self, line: int, cell: int) -> str:
        if self._bits[line, cell]:
            return chr(_BRAILLE | int(self._bits[line, cell]))
        return "┈" if self._owner[line, cell] == GRIDLINE else " "

    def _points(self, glyphs: list[list[str]]) -> None:
        """A marker at each point, or at as many as fit."""
        taken: dict[tuple[int, int], int] = {}
        for place, series in enumerate(self._curve.series):
            for point in self._marked(place, series.values):
                at = self._dot_y(series.values[point]) // 4, self._dot_x(point) // 2
                is_shared = taken.setdefault(at, place) != place
                glyphs[at[0]][at[1]] = SEVERAL if is_shared else marker(place)
                self._owner[at] = ALL if is_shared else place

    def _marked(self, place: int, values: Sequence[float]) -> list[int]:
        """Points with a marker: evenly spaced ones, the chosen one, and those without a neighbor."""
        every = max(1, math.ceil(CLOSEST * len(values) / self._cells))
        runs = groupby(range(len(values)), lambda point: math.isfinite(values[point]))
        joined = [list(run) for is_finite, run in runs if is_finite]
        return [
            point
            for run in joined
            for point in run
            if len(run) == 1 or point == self._chosen or point % every == place % every
        ]
