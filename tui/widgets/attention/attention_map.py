"""The attention pattern of one head: one row per query, one column per key, two rows per line."""

import numpy as np
from jaxtyping import Float32, UInt8
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.reactive import reactive
from textual.strip import Strip

from edge.picture.bars import bar, column
from edge.picture.levels import HIDDEN, LEVELS, UNKNOWN, pool_levels
from edge.picture.palettes import contrast
from edge.picture.pieces import show_piece
from tui.messages import CellChosen, CellPointed
from tui.widgets.grid import Grid
from tui.widgets.palette_styles import paint

TALLEST = 8
"""Largest height of a row in pixels."""

WIDEST = 3
"""Largest width of a column in cells per pixel of row height; 1 is square."""

TAIL_CELLS = 9


class AttentionMap(Grid):
    """Half blocks: the upper pixel of a cell is one row of the pattern, the lower one the next.

    Attributes:
        levels: Color levels, one row per query, one column per key.
        middle: The level of zero: 0, or the middle of a signed palette.
        labels: The piece of every token.
        cursor: The chosen query and key.
        rows: A value from 0 to 1 per query, drawn as a bar at its right.
        columns: A value from 0 to 1 per key, drawn as a column above it.
        is_whole: Fit the whole pattern; where there is no space, a pixel is the largest weight of a block of cells.
    """

    gutter_cells = 12
    tail_cells = TAIL_CELLS
    ruler_lines = 2

    levels: reactive[UInt8[np.ndarray, "token past"]] = reactive(lambda: np.zeros((0, 0), np.uint8), always_update=True)
    labels: reactive[tuple[str, ...]] = reactive(())
    cursor: reactive[tuple[int, int]] = reactive((0, 0), repaint=False)
    rows: reactive[Float32[np.ndarray, " token"]] = reactive(lambda: np.zeros(0, np.float32), always_update=True)
    columns: reactive[Float32[np.ndarray, " past"]] = reactive(lambda: np.zeros(0, np.float32), always_update=True)
    is_whole: reactive[bool] = reactive(True)

    zoom = 1
    """Height of a row in pixels; a line has two."""
    wide = 1
    """Width of a column in cells."""
    block = 1
    """Rows, and columns, per pixel."""

    def __init__(self, row_title: str = "", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._row_title, self.middle = row_title, 0.0
        self._drawn: UInt8[np.ndarray, "row column"] = self.levels

    def watch_levels(self) -> None:
        self._resize()

    def watch_is_whole(self) -> None:
        self._resize()

    def on_resize(self) -> None:
        self._resize()

    def watch_labels(self) -> None:
        self.redraw()

    def watch_cursor(self, before: tuple[int, int], now: tuple[int, int]) -> None:
        self._show_cursor()
        self.redraw_lines(*(self._line_of(token // self.block) for token in (before[0], now[0])), ruler=True)

    @property
    def fits(self) -> bool:
        """Whether every cell has one pixel or more."""
        tokens, past = self.levels.shape
        return bool(tokens <= 2 * self.view_lines and past <= self.view_cells)

    def _resize(self) -> None:
        tokens, past = self.levels.shape
        if not tokens:
            self._drawn = self.levels
            self.resize_body(0, 0)
            return
        self.block = 1
        if self.is_whole and not self.fits:
            self.block = max(-(-tokens // (2 * self.view_lines)), -(-past // self.view_cells))
        self._drawn = pool_levels(self.levels, self.block, self.middle) if self.block > 1 else self.levels
        rows, columns = self._drawn.shape
        room = max(self.view_cells // columns, 1)
        self.zoom = max(min(2 * self.view_lines // rows, 2 * room, TALLEST), 1)
        self.wide = min(room, WIDEST * self.zoom)
        self.resize_body(columns * self.wide, (rows * self.zoom + 1) // 2)
        self._show_cursor()

    @property
    def _at(self) -> tuple[int, int]:
        """Row and column of the picture where the cursor is."""
        return self.cursor[0] // self.block, self.cursor[1] // self.block

    def _show_cursor(self) -> None:
        row, column = self._at
        self.show_cell(column * self.wide, row * self.zoom // 2, self.wide, max(1, self.zoom // 2))

    def draw_ruler(self) -> Strip:
        """An arrow over the chosen key, and its piece."""
        key = self.cursor[1]
        at = self._at[1] * self.wide - self.scroll_offset.x + (self.wide - 1) // 2
        label = show_piece(self.labels[key]) if key < len(self.labels) else ""
        head = self.text("from ↓ to →", self.gutter_cells, self.style_of("label"))
        tail = self.text(f" {self._row_title}", self.tail_cells, self.style_of("label"))
        if not 0 <= at < self.view_cells:
            return self.fit([head, self.text("", self.view_cells), tail], self.width)
        words = f"▾ {label}" if at + 2 + cell_len(label) <= self.view_cells else f"{label} ▾"
        start = at if words[0] == "▾" else max(0, at + 1 - cell_len(words))
        room = self.view_cells - start
        return self.fit([head, self.text("", start), self.text(words, room, self.style_of("cursor")), tail], self.width)

    def draw_second_ruler(self) -> Strip:
        """The mean weight that each key receives, as columns under the arrow."""
        head = self.text("received", self.gutter_cells, self.style_of("label"))
        if not len(self.columns):
            return self.fit([], self.width)
        shares = [
            float(self.columns[first : first + self.block].max()) for first in range(0, len(self.columns), self.block)
        ]
        words = "".join(column(share) * self.wide for share in shares)
        left = self.scroll_offset.x
        seen = self.text(words[left : left + self.view_cells], self.view_cells, self.style_of("first"))
        block = f" map {self.block}×{self.block}" if self.block > 1 else ""
        return self.fit([head, seen, self.text(block, self.tail_cells, self.style_of("label"))], self.width)

    def draw_gutter(self, line: int) -> list[Segment]:
        """The token of the row that begins on this line; with two rows per line, the chosen or the upper one."""
        if line == self._line_of(self._at[0]):
            return [self.text("▸" + self._label(self.cursor[0]), self.gutter_cells, self.style_of("chosen"))]
        row = self._row_of(line)
        if row is None:
            return [self.text("", self.gutter_cells)]
        return [self.text(" " + self._label(row * self.block), self.gutter_cells, self.style_of("label"))]

    def draw_tail(self, line: int) -> list[Segment]:
        """The bar of the row that is labeled on this line."""
        row = self.cursor[0] if line == self._line_of(self._at[0]) else self._row_of(line)
        if row is None or row * self.block >= len(self.rows):
            return [self.text("", self.tail_cells)]
        token = row if row == self.cursor[0] else row * self.block
        style = self.style_of("chosen" if token == self.cursor[0] else "second")
        return [self.text(" " + bar(float(self.rows[token]), self.tail_cells - 2), self.tail_cells, style)]

    def _row_of(self, line: int) -> int | None:
        """The row that is labeled on this line."""
        row = 2 * line // self.zoom
        return row if row < len(self._drawn) and line == self._line_of(row) else None

    def _label(self, token: int) -> str:
        room = self.gutter_cells - 2
        words = self.text(show_piece(self.labels[token]) if token < len(self.labels) else "", room).text.rstrip()
        return " " * (room - cell_len(words)) + words

    def _line_of(self, row: int) -> int:
        """The line that labels a row: the first that has no other row, or the shared one."""
        top = row * self.zoom
        return top // 2 if self.zoom == 1 else (top + 1) // 2

    def draw_body(self, line: int) -> Strip:
        rows, _ = self._drawn.shape
        upper = self._drawn[min(2 * line // self.zoom, rows - 1)]
        lower_row = (2 * line + 1) // self.zoom
        lower = self._drawn[lower_row] if lower_row < rows else np.full_like(upper, HIDDEN)
        keys = upper.astype(np.int32) * 256 + lower
        starts = np.flatnonzero(np.diff(keys, prepend=-1)).tolist()
        ends = [*starts[1:], len(keys)]
        cells = [
            self._cells(int(keys[start]), (end - start) * self.wide) for start, end in zip(starts, ends, strict=True)
        ]
        return Strip(cells, len(keys) * self.wide)

    def _cells(self, key: int, count: int) -> Segment:
        upper, lower = divmod(key, 256)
        if UNKNOWN in (upper, lower):
            return Segment("×" * count, self.rich_style + self.style_of("unknown"))
        return Segment((" " if upper == lower else "▀") * count, self.ink.pair(upper, lower))

    def mark(self, line: int, strip: Strip) -> Strip:
        """Draws the chosen cell: in brackets where they fit, else as one pixel in the accent color."""
        row, column = self._at
        if line != self._line_of(row) or row >= len(self._drawn):
            return strip
        start = column * self.wide
        cell = self._marked_pixel(row, column) if self.zoom == 1 else self._bracketed(int(self._drawn[row, column]))
        return Strip.join([strip.crop(0, start), Strip([cell]), strip.crop(start + self.wide, None)])

    def _bracketed(self, level: int) -> Segment:
        style = self.ink.block(level) + Style(bold=True)
        if level >= LEVELS:
            style = self.rich_style + self.style_of("cursor")
        inside = "×" if level == UNKNOWN else " "
        if self.wide == 1:
            return Segment("▪", style)
        return Segment("[" + inside * (self.wide - 2) + "]", style)

    def _marked_pixel(self, row: int, column: int) -> Segment:
        other = row + 1 if row % 2 == 0 else row - 1
        level = int(self._drawn[other, column]) if other < len(self._drawn) else HIDDEN
        accent = self.style_of("cursor").color
        triplet = accent.get_truecolor() if accent is not None else contrast(self.ink.background)
        style = paint((triplet[0], triplet[1], triplet[2]), self.ink.color(level))
        return Segment(("▀" if row % 2 == 0 else "▄") * self.wide, style)

    def action_move(self, down: int, right: int) -> None:
        rows, past = self.levels.shape
        if rows:
            token = min(max(self.cursor[0] + down, 0), rows - 1)
            self.post_message(CellChosen(token, min(max(self.cursor[1] + right, 0), past - 1)))

    def _cell_at(self, event: events.MouseEvent) -> tuple[int, int] | None:
        """The query and key under the mouse; of a block of cells, the largest weight."""
        cell = self.body_cell(event)
        if cell is None:
            return None
        row, column = 2 * cell[1] // self.zoom, cell[0] // self.wide
        rows, columns = self._drawn.shape
        if column >= columns or 2 * cell[1] >= rows * self.zoom:
            return None
        first, left = min(row, rows - 1) * self.block, column * self.block
        square = self.levels[first : first + self.block, left : left + self.block].astype(np.float32)
        away = np.where(square >= LEVELS, -1.0, np.abs(square - self.middle))
        down, right = divmod(int(away.argmax()), square.shape[1])
        return first + down, left + right

    def on_click(self, event: events.Click) -> None:
        if (cell := self._cell_at(event)) is not None:
            self.post_message(CellChosen(*cell))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        self.post_message(CellPointed(self._cell_at(event)))

    def on_leave(self, event: events.Leave) -> None:
        self.post_message(CellPointed(None))
