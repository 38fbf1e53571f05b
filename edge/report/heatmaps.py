"""Grids of the lab as SVG, which needs no script: one colored cell per row and column."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from edge.lab.claim import Grid
from edge.picture.levels import LEVELS
from edge.picture.palettes import contrast
from edge.picture.units import show_measured, show_with_unit
from edge.report.markup import Markup, gradient, hexadecimal, tag
from edge.report.plots import LETTER, figure
from edge.report.scales import PALETTE

WIDEST = 320
"""Width of all columns of a grid together, in pixels."""


@dataclass(frozen=True)
class Cells:
    """The shape of a heatmap, and the lowest and highest number: NaN if no cell has a number."""

    left: float
    wide: float
    high: float
    rows: int
    columns: int
    lowest: float
    highest: float

    def level(self, value: float) -> int:
        """The level of the palette. Values are halved first, so that their difference cannot overflow."""
        span = self.highest / 2 - self.lowest / 2
        return round((LEVELS - 1) * ((value / 2 - self.lowest / 2) / span)) if span else 0


def heatmap_figure(grid: Grid) -> Markup:
    """One cell per number, colored from the lowest to the highest; the first row is at the bottom.

    Raises:
        ValueError: rows have different lengths.
    """
    lengths = {len(row) for row in grid.values}
    if len(lengths) > 1:
        raise ValueError(f"rows of '{grid.title}' have {min(lengths)} to {max(lengths)} values")
    columns = max(lengths, default=0)
    if not columns:
        return figure(grid.title, tag("p", "no cells", class_="caption"))
    finite = [value for value in chain(*grid.values) if math.isfinite(value)]
    wide = min(WIDEST / columns, 40.0)
    cells = Cells(
        left=6 + LETTER * len(str(len(grid.values) - 1)),
        wide=wide,
        high=min(max(wide, 8.0), 20.0),
        rows=len(grid.values),
        columns=columns,
        lowest=min(finite, default=math.nan),
        highest=max(finite, default=math.nan),
    )
    width, height = cells.left + columns * wide + 8, cells.rows * cells.high + 16
    picture = tag(
        "svg",
        _cells(grid, cells),
        *_printed(grid, cells),
        *_sides(cells),
        class_="plot",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        role="img",
        aria_label=f"{grid.title} by {grid.rows_title} and {grid.columns_title}, {grid.unit}: {_highest(grid, cells)}",
    )
    over, under = tag("p", f"↑ {grid.rows_title}", class_="axis"), tag("p", f"{grid.columns_title} →", class_="axis")
    return figure(grid.title, over, picture, under, _scale(grid, cells))


def _highest(grid: Grid, cells: Cells) -> str:
    for row, values in enumerate(grid.values):
        if cells.highest in values:
            at = f"{grid.rows_title} {row}, {grid.columns_title} {values.index(cells.highest)}"
            return f"highest at {at}: {show_with_unit(cells.highest, grid.unit)}"
    return "no value"


def _cells(grid: Grid, cells: Cells) -> Markup:
    """All cells, grouped by color; a cell without a number is crossed out."""
    by_level: dict[int | None, list[Markup]] = {}
    for row, values in enumerate(grid.values):
        for column, value in enumerate(values):
            y, found = cells.rows - 1 - row, math.isfinite(value)
            cross = "" if found else "l1 1"
            tooltip = f"{grid.rows_title} {row}, {grid.columns_title} {column}: {show_with_unit(value, grid.unit)}"
            cell = tag("path", tag("title", tooltip), d=f"M{column} {y}h1v1H{column}z{cross}")
            by_level.setdefault(cells.level(value) if found else None, []).append(cell)
    groups = (
        tag("g", *same, class_="unknown" if level is None else None, fill=None if level is None else _color(level))
        for level, same in by_level.items()
    )
    return tag("g", *groups, transform=f"translate({cells.left:.1f} 0) scale({cells.wide:.3f} {cells.high:.3f})")


def _color(level: int) -> str:
    return hexadecimal(PALETTE.colors[level])


def _printed(grid: Grid, cells: Cells) -> Iterator[Markup]:
    """The numbers in their cells, for print and for use without a mouse, if all of them fit."""
    largest = max(abs(cells.lowest), abs(cells.highest))
    figures = [[_short(value, grid.unit, largest) for value in values] for values in grid.values]
    if LETTER * max(map(len, chain(*figures))) > cells.wide:
        return
    for row, values in enumerate(grid.values):
        for column, value in enumerate(values):
            x, y = cells.left + (column + 0.5) * cells.wide, (cells.rows - 0.5 - row) * cells.high
            if math.isfinite(value):
                ink = hexadecimal(contrast(PALETTE.colors[cells.level(value)]))
                at = {"x": f"{x:.1f}", "y": f"{y + 3.3:.1f}"}
                yield tag("text", figures[row][column], **at, text_anchor="middle", class_="in", fill=ink)


def _short(value: float, unit: str, largest: float) -> str:
    """A value with as many decimals as give `largest`, the largest of the grid, three digits."""
    if not math.isfinite(value) or unit == "bytes":
        return show_measured(value, unit)
    times, sign = (100, "%") if unit == "share" else (1, "")
    decimals = min(max(2 - math.floor(math.log10(times * largest)), 0), 9) if largest else 0
    return f"{times * value:z.{decimals}f}{sign}".replace("-", "−")


def _sides(cells: Cells) -> Iterator[Markup]:
    """Indices of rows and columns, as many as fit."""
    for row in range(0, cells.rows, math.ceil(12 / cells.high)):
        y = (cells.rows - 0.5 - row) * cells.high + 3.5
        yield tag("text", str(row), x=f"{cells.left - 5:.1f}", y=f"{y:.1f}", text_anchor="end")
    for column in range(0, cells.columns, math.ceil((LETTER * len(str(cells.columns - 1)) + 6) / cells.wide)):
        x = cells.left + (column + 0.5) * cells.wide
        yield tag("text", str(column), x=f"{x:.1f}", y=f"{cells.rows * cells.high + 13:.1f}", text_anchor="middle")


def _scale(grid: Grid, cells: Cells) -> Markup:
    """The legend of the colors, and the place of the highest number."""
    if math.isnan(cells.lowest):
        return tag("p", f"no value ({grid.unit})", class_="axis")
    low, high = show_measured(cells.lowest, grid.unit), f"{show_measured(cells.highest, grid.unit)} ({grid.unit})"
    missing = "" if all(map(math.isfinite, chain(*grid.values))) else "; crossed out: no value"
    if cells.lowest == cells.highest:
        return tag("p", f"all {high}{missing}", class_="axis")
    legend = tag("span", low, gradient(PALETTE), high, class_="legend")
    return tag("div", legend, tag("p", f"{_highest(grid, cells)}{missing}", class_="axis"))
