"""A number per row and column, such as layer and head, as colored cells."""

import numpy as np
from jaxtyping import Float64, UInt8
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from edge.lab.claim import Grid as Numbers
from edge.picture.levels import UNKNOWN, Linear, to_levels
from edge.picture.units import show_measured, show_with_unit
from tui.widgets.layer_map import LayerMap

NARROW = 2
"""Width of a column whose numbers do not fit."""


class NumberGrid(LayerMap):
    """The first row is at the bottom, like layer 0.

    Attributes:
        grid: The numbers; None before there are any.
    """

    grid: reactive[Numbers | None] = reactive(None)

    cell = NARROW

    class Pointed(Message):
        """Another cell is chosen."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._values: Float64[np.ndarray, "row column"] = np.zeros((0, 0))
        self._levels: UInt8[np.ndarray, "row column"] = np.zeros((0, 0), np.uint8)
        self._words: list[list[str]] = []

    @property
    def values(self) -> Float64[np.ndarray, "row column"]:
        return self._values

    @property
    def scale(self) -> Linear | None:
        """From the lowest number to the highest; None where all are equal, or there is none."""
        known = self._values[np.isfinite(self._values)]
        return Linear(float(known.min()), float(known.max())) if known.size and known.min() < known.max() else None

    @property
    def description(self) -> str:
        """The number under the cursor and its place: `layer 3, head 2: 0.43 bits`."""
        grid, (row, column) = self.grid, self.chosen
        if grid is None or row >= len(self._values) or column >= self._values.shape[1]:
            return ""
        value = show_with_unit(float(self._values[row, column]), grid.unit)
        return f"{grid.rows_title} {row}, {grid.columns_title} {column}: {value}"

    def watch_grid(self) -> None:
        grid = self.grid
        lengths = {len(row) for row in grid.values} if grid else set()
        problem = (
            "no cells" if not lengths or lengths == {0} else "rows of different lengths" if len(lengths) > 1 else ""
        )
        self.notice = f"{grid.title}: {problem}" if grid and problem else ""
        self._values = np.array(grid.values, np.float64) if grid and not problem else np.zeros((0, 0))
        self._words = [
            [show_measured(value, grid.unit if grid else "") for value in row] for row in self._values.tolist()
        ]
        self.chosen = self._highest()
        self.place()

    def _highest(self) -> tuple[int, int]:
        """The cell of the highest number, which is chosen first."""
        known = np.where(np.isfinite(self._values), self._values, -np.inf)
        row, column = np.unravel_index(int(known.argmax()), known.shape) if known.size else (0, 0)
        return int(row), int(column)

    def watch_chosen(self, before: tuple[int, int], now: tuple[int, int]) -> None:
        super().watch_chosen(before, now)
        self.post_message(self.Pointed())

    def update_cells(self) -> None:
        scale = self.scale
        self._levels = np.zeros(self._values.shape, np.uint8)
        if scale is not None:
            self._levels = to_levels(np.where(np.isfinite(self._values), self._values, np.nan), scale)
        self._levels[~np.isfinite(self._values)] = UNKNOWN
        longest = max((cell_len(word) for row in self._words for word in row), default=0) + 2
        self.cell = longest if self._values.shape[1] * longest <= self.view_cells else NARROW

    @property
    def _is_narrow(self) -> bool:
        return self.cell == NARROW

    def draw_ruler(self) -> Strip:
        columns, grid = self._values.shape[1], self.grid
        names = [str(column) if not self._is_narrow or column % 2 == 0 else "" for column in range(columns)]
        cells = [self._column_name(column, name) for column, name in enumerate(names)]
        left = self.scroll_offset.x
        seen = Strip(cells).crop(left, left + self.view_cells)
        corner = self.text(f" {grid.rows_title if grid else ''}", self.gutter_cells, self.style_of("label"))
        title = f"  {grid.columns_title} →" if grid else ""
        has_room = columns * self.cell + cell_len(title) <= self.view_cells
        named = [self.text(title, cell_len(title), self.style_of("label"))] if has_room else []
        return self.fit([corner, *seen, *named], self.width)

    def _column_name(self, column: int, name: str) -> Segment:
        if column == self.chosen[1]:
            return self.text(
                ("▾" if self._is_narrow else f"▾{name}").center(self.cell), self.cell, self.style_of("chosen")
            )
        return self.text(name if self._is_narrow else name.center(self.cell), self.cell, self.style_of("label"))

    def draw_body(self, line: int) -> Strip:
        row = self.flip(line)
        return Strip([self._cell(row, column) for column in range(self._values.shape[1])])

    def _cell(self, row: int, column: int) -> Segment:
        style, word = self._look(row, column)
        return Segment(word.center(self.cell), style)

    def _look(self, row: int, column: int) -> tuple[Style, str]:
        level = int(self._levels[row, column])
        if level == UNKNOWN:
            return self.rich_style + self.style_of("label"), "·" if self._is_narrow else self._words[row][column]
        return self.ink.block(level), "" if self._is_narrow else self._words[row][column]

    def mark(self, line: int, strip: Strip) -> Strip:
        """Brackets around the chosen cell."""
        row, column = self.chosen
        if self.flip(line) != row or column >= self._values.shape[1]:
            return strip
        style, word = self._look(row, column)
        return self.with_cell(
            strip, column, Segment(f"[{word[: self.cell - 2].center(self.cell - 2)}]", style + Style(bold=True))
        )

    def action_move(self, down: int, right: int) -> None:
        if found := self.beside_chosen(down, right):
            self.chosen = found

    def on_click(self, event: events.Click) -> None:
        if found := self.under(event):
            self.chosen = found
