"""A table of costs: one row per quantity, one column per engine; the names of the quantities do not scroll."""

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip

from tui.cost_table import Cost, CostRow, Heading, Split
from tui.widgets.grid import Grid
from tui.widgets.stacked_bar import PATTERNS, STYLES, stack

_VALUE_CELLS = 8
_SHARE_CELLS = 8
_INDENT = 2
_LEAST_CELLS = _VALUE_CELLS + _SHARE_CELLS
_MOST_CELLS = 26


class CostColumns(Grid):
    """Rows of `tui.cost_table`; keys scroll, since no row is chosen.

    Attributes:
        engines: The columns.
        current: The current engine, which is marked.
        rows: The rows, each with one value per engine.
    """

    DEFAULT_CSS = "CostColumns { scrollbar-gutter: stable; }"

    engines: reactive[tuple[str, ...]] = reactive(())
    current: reactive[str] = reactive("")
    rows: reactive[tuple[CostRow, ...]] = reactive(())

    def watch_rows(self) -> None:
        self._resize()

    def watch_engines(self) -> None:
        self._resize()

    def watch_current(self) -> None:
        self.redraw()

    def on_resize(self) -> None:
        self._resize()

    def _resize(self) -> None:
        labels = [row.label for row in self.rows if isinstance(row, Cost)]
        self.gutter_cells = _INDENT + max((cell_len(label) for label in labels), default=0) + 1
        self.resize_body(self.column_cells * len(self.engines), len(self.rows) if self.engines else 0)

    @property
    def column_cells(self) -> int:
        """As wide as fits, up to a limit, and at least as wide as the name."""
        shared = min(max(self.view_cells // max(1, len(self.engines)), _LEAST_CELLS), _MOST_CELLS)
        return max(shared, *(cell_len(name) + 4 for name in self.engines), 0)

    @property
    def full_ns(self) -> float:
        """Time of a full bar: the slowest engine's pass."""
        splits = [row for row in self.rows if isinstance(row, Split)]
        return max((account.total_ns for split in splits for account in split.accounts), default=0.0)

    def draw_ruler(self) -> Strip:
        names = [self._head(name) for name in self.engines]
        left = self.scroll_offset.x
        seen = Strip(names).crop(left, left + self.view_cells)
        return self.fit([self.text("", self.gutter_cells), *seen], self.width)

    def _head(self, name: str) -> Segment:
        """The heading, aligned with the values."""
        is_current = name == self.current
        words = f"▸{name}" if is_current else name
        look = self.style_of("chosen") if is_current else Style(bold=True)
        return self.text(f"{words:>{_VALUE_CELLS}}", self.column_cells, look)

    def draw_gutter(self, line: int) -> list[Segment]:
        row = self.rows[line]
        if isinstance(row, Heading):
            return []
        label = row.label if isinstance(row, Cost) else "shares"
        return [self.text(f"{' ' * _INDENT}{label}", self.gutter_cells, self.style_of("label"))]

    def draw_body(self, line: int) -> Strip:
        row, cells = self.rows[line], self.column_cells
        if isinstance(row, Heading):
            return Strip([])
        if isinstance(row, Split):
            return Strip([segment for engine in range(len(self.engines)) for segment in self._bar(row, engine, cells)])
        return Strip([segment for engine in range(len(self.engines)) for segment in self._cell(row, engine, cells)])

    def render_line(self, y: int) -> Strip:
        """Headings are as wide as the table, and do not scroll sideways."""
        line = y - self.ruler_lines + self.scroll_offset.y
        if not self.notice and y >= self.ruler_lines and line < len(self.rows):
            row = self.rows[line]
            if isinstance(row, Heading):
                look = self.style_of("unknown" if row.warns else "first")
                return self.fit([self.text(f" {row.title}", self.width, look)], self.width)
        return super().render_line(y)

    def _cell(self, row: Cost, engine: int, cells: int) -> list[Segment]:
        words = f"{row.show_share_of(engine):>{_SHARE_CELLS - 1}}"
        return [
            self.text(f"{row.show(engine):>{_VALUE_CELLS}}", _VALUE_CELLS),
            self.text(words, cells - _VALUE_CELLS, self.style_of("label")),
        ]

    def _bar(self, row: Split, engine: int, cells: int) -> list[Segment]:
        room = cells - 2
        pieces = stack(row.accounts[engine].sums_ns, self.full_ns, room)
        drawn = [self.text(PATTERNS[kind] * long, long, self.style_of(STYLES[kind])) for kind, long in pieces]
        used = sum(long for _, long in pieces)
        return [self.text("", 1), *drawn, self.text("", cells - 1 - used)]

    def action_move(self, down: int, right: int) -> None:
        self.scroll_to(self.scroll_x + right * self.column_cells, self.scroll_y + down, animate=False)
