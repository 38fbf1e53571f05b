"""A line plot in braille dots; lines differ by marker, dashes and color; the legend has their values at a point."""

from itertools import groupby
from math import ceil, isfinite
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.reactive import reactive
from textual.strip import Strip

from edge.lab.claim import Curve
from edge.picture.units import show_measured
from tui.braille_plot import ALL, GRIDLINE, NO_LINE, SEVERAL, Picture, draw_curve, number_cells, sample
from tui.widgets.grid import Grid

COLORS = 6
"""Number of line colors; markers and dashes distinguish lines of one color."""

SAMPLE_CELLS = 5
"""Width of a line sample in the legend."""

LEAST_CELLS, LEAST_LINES = 16, 2
"""Smallest size of the plot."""

BESIDE_CELLS = 44
"""Smallest width of a plot with its legend at the right."""

LONGEST_LABEL = 10
"""Longest label of the x axis, except the chosen point's."""


class CurvePlot(Grid):
    """A curve that fills the widget: axis titles, plot, labels, and a legend with the values at the chosen point.

    Attributes:
        curve: The curve; None before there is one.
        point: The chosen point; the legend has its values.
    """

    DEFAULT_CSS = """
    CurvePlot {
        overflow: hidden hidden;
        &> .curve-plot--grid { color: $border-blurred; }
        &> .curve-plot--line-0 { color: $primary; }
        &> .curve-plot--line-1 { color: $secondary; }
        &> .curve-plot--line-2 { color: $success; }
        &> .curve-plot--line-3 { color: $error; }
        &> .curve-plot--line-4 { color: $warning; }
        &> .curve-plot--line-5 { color: $accent; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "curve-plot--grid",
        *(f"curve-plot--line-{place}" for place in range(COLORS)),
    }

    ruler_lines = 0

    curve: reactive[Curve | None] = reactive(None)
    point: reactive[int] = reactive(0)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._picture: Picture | None = None
        self._first = 0
        self._legend_lines = self._legend_cells = self._left = 0

    def watch_curve(self) -> None:
        self._first = 0
        self.point = max(0, min(self.point, len(self.curve.x) - 1)) if self.curve else 0
        self._fill()

    def watch_point(self) -> None:
        self._fill()

    def on_resize(self) -> None:
        self._fill()

    def _fill(self) -> None:
        """Divides the widget between plot and legend, and draws."""
        self._picture = None
        curve = self.curve
        if curve is None or not self.size:
            return
        problem = _trouble(curve)
        cells, lines = self.scrollable_content_region.size
        if not problem:
            plot_cells, plot_lines = self._share_out(curve, cells, lines)
            if plot_cells < LEAST_CELLS or plot_lines < LEAST_LINES:
                problem = "too little space for a plot; enlarge the terminal"
            else:
                self._picture = draw_curve(curve, plot_cells, plot_lines, self.point)
        self.notice = f"{curve.title}: {problem}" if problem else ""
        self.resize_body(cells, 0 if problem else lines)

    def _share_out(self, curve: Curve, cells: int, lines: int) -> tuple[int, int]:
        """Columns and lines of the plot; the legend is at its right if both fit, else below."""
        entries, longest = len(curve.series), max(cell_len(text) for text in self._entries(curve))
        room = lines - 2
        self._left = number_cells(curve, room) + 2
        side_by_side = cells - self._left - SAMPLE_CELLS - longest - 5
        if side_by_side >= BESIDE_CELLS and entries <= room:
            self._legend_cells, self._legend_lines = cells - self._left - side_by_side, 0
            return side_by_side, room
        self._legend_cells = min(SAMPLE_CELLS + longest + 4, cells)
        needed = ceil(entries / max(1, cells // self._legend_cells))
        self._legend_lines = min(needed, max(room - 3 * LEAST_LINES, 2))
        self._left = number_cells(curve, room - self._legend_lines) + 2
        return cells - self._left, room - self._legend_lines

    def _entries(self, curve: Curve) -> list[str]:
        """The legend's entries: name, and value at the chosen point."""
        widest = max(cell_len(series.name) for series in curve.series)
        return [
            f"{set_cell_size(series.name, widest)} {show_measured(series.values[self.point], ''):>7}"
            for series in curve.series
        ]

    # ---- lines ------------------------------------------------------------------------------------------

    def draw_body(self, line: int) -> Strip:
        curve, picture = self.curve, self._picture
        if curve is None or picture is None:
            return self.fit([], self.width)
        plotted = len(picture.glyphs)
        if line == 0:
            return self._head(curve, picture)
        if line <= plotted:
            parts = [*self._number(picture, line - 1), *self._plotted(picture, line - 1)]
            if not self._legend_lines:
                parts += self._compared_name(curve, line - 1)
            return self.fit(parts, self.width)
        if line == plotted + 1:
            return self._labels(curve, picture)
        return self._below(curve, line - plotted - 2)

    def _head(self, curve: Curve, picture: Picture) -> Strip:
        """The axis titles, and the chosen point."""
        label = self.style_of("label")
        axes = f" ↑ {curve.y_title}   → {curve.x_title}"
        if picture.overlaps:
            axes += f"   {SEVERAL} several"
        at = f"▴ {curve.x_title} {curve.x[self.point]} "
        room = max(0, self.width - cell_len(at) - 2)
        return self.fit(
            [self.text(axes, room, label), self.text("  "[: self.width - room], 2), self._whole(at)], self.width
        )

    def _whole(self, text: str) -> Segment:
        return self.text(text, cell_len(text), self.style_of("cursor"))

    def _number(self, picture: Picture, line: int) -> list[Segment]:
        number = picture.numbers.get(line, "")
        return [self.text(f"{number:>{self._left - 1}} ", self._left, self.style_of("label"))]

    def _plotted(self, picture: Picture, line: int) -> list[Segment]:
        """One line of the plot, with the chosen point's column."""
        cursor = picture.columns[self.point]
        row, owners = picture.glyphs[line], picture.owner[line].tolist()
        kinds = [
            (None if cell == cursor and owner in (NO_LINE, GRIDLINE) else owner, glyph)
            for cell, (glyph, owner) in enumerate(zip(row, owners, strict=True))
        ]
        return [
            Segment(
                "│" if owner is None else "".join(glyph for _, glyph in cells), self.rich_style + self._owned(owner)
            )
            for owner, cells in groupby(kinds, key=lambda kind: kind[0])
        ]

    def _owned(self, owner: int | None) -> Style:
        match owner:
            case None:
                return self.style_of("cursor")
            case int() if owner == ALL:
                return Style(bold=True)
            case int() if owner >= 0:
                return self._line_ink(owner)
        return self.get_component_rich_style("curve-plot--grid")

    def _line_ink(self, place: int) -> Style:
        return self.get_component_rich_style(f"curve-plot--line-{place % COLORS}")

    def _labels(self, curve: Curve, picture: Picture) -> Strip:
        """As many labels as fit, always with the chosen point's."""
        cells = self.width - self._left if self._legend_lines else self.width - self._left - self._legend_cells
        short = [x if cell_len(x) <= LONGEST_LABEL else f"{set_cell_size(x, LONGEST_LABEL - 1)}…" for x in curve.x]
        short[self.point] = curve.x[self.point]
        line: list[tuple[str, Style]] = [(" ", Style.null())] * cells
        order = [self.point, *range(len(short))]
        used: set[int] = set()
        for point in order:
            wide = min(cell_len(short[point]), cells)
            start = min(max(picture.columns[point] - wide // 2, 0), cells - wide)
            if used.isdisjoint(range(start - 1, start + wide + 1)):
                used |= set(range(start, start + wide))
                style = self.style_of("cursor" if point == self.point else "label")
                line[start : start + wide] = [(set_cell_size(short[point], wide), style), *[("", style)] * (wide - 1)]
        parts = [Segment(text, self.rich_style + style) for text, style in line if text]
        return self.fit([self.text("", self._left), *parts], self.width)

    # ---- the legend -------------------------------------------------------------------------------------

    def _compared_name(self, curve: Curve, line: int) -> list[Segment]:
        return [self.text("  ", 2), *self._entry(curve, line, self._legend_cells - 2)]

    @property
    def _columns(self) -> int:
        """Entries per line of the legend below the plot."""
        return max(1, self.width // self._legend_cells)

    def _below(self, curve: Curve, line: int) -> Strip:
        """A line of the legend; the last one says how many entries are hidden."""
        columns, lines = self._columns, self._legend_lines
        if line == lines - 1 and columns * lines < len(curve.series):
            first = self._first * columns + 1
            last = min(first + columns * (lines - 1) - 1, len(curve.series))
            seen = f"{first} to {last}" if first < last else str(first)
            note = f" {seen} of {len(curve.series)} lines; ↑ ↓ scroll"
            return self.fit([self.text(note, self.width, self.style_of("label"))], self.width)
        places = range((self._first + line) * columns, (self._first + line + 1) * columns)
        return self.fit(
            [segment for place in places for segment in self._entry(curve, place, self._legend_cells)], self.width
        )

    def _entry(self, curve: Curve, place: int, cells: int) -> list[Segment]:
        if place >= len(curve.series):
            return [self.text("", cells)]
        ink = self._line_ink(place)
        return [
            self.text(f" {sample(place)} ", SAMPLE_CELLS + 2, ink),
            self.text(self._entries(curve)[place], cells - SAMPLE_CELLS - 2, ink),
        ]

    # ---- keys -------------------------------------------------------------------------------------------

    def action_move(self, down: int, right: int) -> None:
        """Left and right choose a point; up and down scroll the legend."""
        curve = self.curve
        if curve is None or self._picture is None:
            return
        self.point = min(max(self.point + right, 0), len(curve.x) - 1)
        if down and self._legend_lines:
            needed = ceil(len(curve.series) / self._columns)
            last = needed - self._legend_lines + 1 if needed > self._legend_lines else 0
            self._first = min(max(self._first + down, 0), last)
            self.redraw()

    def on_click(self, event: events.Click) -> None:
        """Chooses the nearest point."""
        at, picture = self.body_cell(event), self._picture
        if at is not None and picture is not None and picture.columns:
            columns = picture.columns
            self.point = min(range(len(columns)), key=lambda point: abs(columns[point] + self._left - at[0]))


def _trouble(curve: Curve) -> str:
    """Why there is nothing to draw; empty where there is."""
    if not curve.x or not curve.series:
        return "no points"
    for series in curve.series:
        if len(series.values) != len(curve.x):
            return f"'{series.name}' has {len(series.values)} values for {len(curve.x)} points"
    if not any(isfinite(value) for series in curve.series for value in series.values):
        return "no value was found"
    return ""
