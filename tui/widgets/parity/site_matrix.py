"""A table with one column per engine: relative errors of sites, or the summary. One row is chosen."""

from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from tui.parity_table import Cell, Line
from tui.widgets.grid import Grid

CELL = 11
"""Smallest width of a column: an error, its mark, and the mark of the first site over tolerance."""

ROOMY = 16
"""Width of a column where there is more space."""

TITLE = 22
"""Smallest width of the titles, so that two tables on one screen are aligned."""


class SiteMatrix(Grid):
    """Rows in order of computation: the first site over tolerance comes before those computed from it.

    Attributes:
        headings: Engine and note of each column; the second line is shown if any note has a text.
        lines: The rows.
        chosen: The chosen row.
        title: Heading of the titles.
    """

    DEFAULT_CSS = """
    SiteMatrix {
        &> .site-matrix--near { color: $warning; }
        &> .site-matrix--over { color: $error; text-style: bold; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"site-matrix--near", "site-matrix--over"}

    headings: reactive[tuple[tuple[str, str], ...]] = reactive(())
    lines: reactive[tuple[Line, ...]] = reactive(())
    chosen: reactive[int] = reactive(0)
    title: reactive[str] = reactive("")

    class Chosen(Message):
        """A row was chosen."""

        def __init__(self, matrix: "SiteMatrix", line: Line) -> None:
            super().__init__()
            self.matrix, self.line = matrix, line

        @property
        def control(self) -> "SiteMatrix":
            return self.matrix

    def watch_headings(self) -> None:
        self._place()

    def watch_lines(self) -> None:
        self.chosen = min(self.chosen, max(0, len(self.lines) - 1))
        self._place()

    def on_resize(self) -> None:
        self._place()

    def watch_chosen(self) -> None:
        self._show_chosen()
        self.refresh()

    def _place(self) -> None:
        self.ruler_lines = 2 if any(note for _, note in self.headings) else 1
        widest = max((cell_len(line.title) for line in self.lines), default=0)
        self.gutter_cells = min(max(TITLE, widest + 2), max(16, self.width - CELL))
        self.resize_body(self.cell * len(self.headings), len(self.lines))
        self._show_chosen()

    def _show_chosen(self) -> None:
        if self.lines:
            self.show_cell(self.scroll_offset.x, self.chosen)

    @property
    def cell(self) -> int:
        """Width of one column."""
        widest = max((cell_len(name) + 2 for name, _ in self.headings), default=0)
        return max(CELL, widest, min(ROOMY, self.view_cells // max(1, len(self.headings))))

    @property
    def chosen_line(self) -> Line | None:
        return self.lines[self.chosen] if self.chosen < len(self.lines) else None

    def choose_layer(self, layer: int) -> None:
        """Chooses the same part of another layer, or that layer's first row, without a message."""
        now = self.chosen_line
        if now is not None and now.layer == layer:
            return
        of_layer = [place for place, line in enumerate(self.lines) if line.layer == layer]
        if of_layer:
            part = now.title.partition(f"layers.{now.layer}.")[2] if now is not None else ""
            same = [place for place in of_layer if part and self.lines[place].title == f"layers.{layer}.{part}"]
            self.chosen = (same or of_layer)[0]

    # ---- drawing ----------------------------------------------------------------------------------------

    def draw_ruler(self) -> Strip:
        return self._ruler(0, f" {self.title}", "first")

    def draw_second_ruler(self) -> Strip:
        return self._ruler(1, "", "label")

    def _ruler(self, which: int, corner: str, look: str) -> Strip:
        left, style = self.scroll_offset.x, self.style_of(look)
        words = [self.text(f" {heading[which]}", self.cell, style) for heading in self.headings]
        names = Strip(words).crop(left, left + self.view_cells)
        return self.fit([self.text(corner, self.gutter_cells, self.style_of("label")), *names], self.width)

    def draw_gutter(self, line: int) -> list[Segment]:
        title, is_chosen = self.lines[line].title, line == self.chosen
        style = self.style_of("chosen" if is_chosen else "label")
        return [self.text(f"{'▸' if is_chosen else ' '}{title}", self.gutter_cells, style)]

    def draw_body(self, line: int) -> Strip:
        row = self.lines[line]
        cells = [self.text(f" {cell.text}", self.cell, self._look(cell)) for cell in row.cells]
        return self.fit(cells, self.cell * len(self.headings))

    def _look(self, cell: Cell) -> Style:
        plain = Style(bold=cell.is_first, reverse=cell.is_first)
        if cell.level in ("near", "over"):
            return self.get_component_rich_style(f"site-matrix--{cell.level}", partial=True) + plain
        return plain

    # ---- choosing ---------------------------------------------------------------------------------------

    def action_move(self, down: int, right: int) -> None:
        if abs(right) > 1:  # home and end: the first and the last line
            down, right = (len(self.lines) if right > 0 else -len(self.lines)), 0
        if right:
            self.scroll_relative(x=right * self.cell, animate=False)
        if down and self.lines:
            self._choose(min(max(self.chosen + down, 0), len(self.lines) - 1))

    def on_click(self, event: events.Click) -> None:
        line = self.body_line(event)
        if line is not None and line < len(self.lines):
            self._choose(line)

    def _choose(self, line: int) -> None:
        self.chosen = line
        self.post_message(self.Chosen(self, self.lines[line]))
