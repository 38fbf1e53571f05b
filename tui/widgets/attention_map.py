"""The attention pattern of one head: a row for each reading token, a column for each key, two rows a line."""

import numpy as np
from jaxtyping import UInt8
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.reactive import reactive
from textual.strip import Strip

from edge.picture.levels import HIDDEN, LEVELS, UNKNOWN
from edge.picture.palettes import contrast
from edge.picture.pieces import show_piece
from tui.messages import CellChosen, CellPointed
from tui.widgets.grid import Grid
from tui.widgets.ink import paint

TALLEST = 8
"""Pixels a token is high at most, however few there are."""

WIDEST = 3
"""Cells a key is wide at most for each pixel that a token is high; 1 is square."""


class AttentionMap(Grid):
    """Half blocks: the upper pixel of a cell is one row of the pattern, the lower one the next.

    Attributes:
        levels: Colour levels, a row for each token, a column for each key.
        labels: The piece of every token.
        cursor: The chosen token and the key it reads.
    """

    gutter_cells = 12

    levels: reactive[UInt8[np.ndarray, "token past"]] = reactive(lambda: np.zeros((0, 0), np.uint8), always_update=True)
    labels: reactive[tuple[str, ...]] = reactive(())
    cursor: reactive[tuple[int, int]] = reactive((0, 0))

    zoom = 1
    """Pixels that a token is high; two make a line."""
    wide = 1
    """Cells that a key is wide."""

    def watch_levels(self) -> None:
        self._resize()

    def on_resize(self) -> None:
        self._resize()

    def watch_labels(self) -> None:
        self.redraw()

    def watch_cursor(self) -> None:
        self._show_cursor()
        self.refresh()

    def _resize(self) -> None:
        tokens, past = self.levels.shape
        if not tokens:
            self.resize_body(0, 0)
            return
        self.zoom = min(max(min(self.view_cells // past, 2 * self.view_lines // tokens), 1), TALLEST)
        self.wide = min(max(self.view_cells // past, 1), WIDEST * self.zoom)
        self.resize_body(past * self.wide, (tokens * self.zoom + 1) // 2)
        self._show_cursor()

    def _show_cursor(self) -> None:
        token, key = self.cursor
        self.show_cell(key * self.wide, token * self.zoom // 2, self.wide, max(1, self.zoom // 2))

    def draw_ruler(self) -> Strip:
        """An arrow over the chosen key, and its piece."""
        width = self.width
        key = self.cursor[1]
        at = self.gutter_cells + key * self.wide - self.scroll_offset.x + (self.wide - 1) // 2
        label = show_piece(self.labels[key]) if key < len(self.labels) else ""
        if not self.gutter_cells <= at < width:
            return self.fit([self.text("from ↓  to →", self.gutter_cells, self.look_of("label"))], width)
        after = f"▾ {label}"
        start = at if at + cell_len(after) <= width else at + 1 - cell_len(f"{label} ▾")
        words = after if start == at else f"{label} ▾"
        head = self.text("from ↓  to →", min(self.gutter_cells, max(0, start)), self.look_of("label"))
        space = self.text("", max(0, start - self.gutter_cells))
        return self.fit([head, space, self.text(words, cell_len(words), self.look_of("cursor"))], width)

    def draw_gutter(self, line: int) -> list[Segment]:
        """The piece of the row that begins on this line; with two rows a line, the chosen or the upper one's."""
        token = self.cursor[0]
        if line == self._line_of(token):
            return [self.text("▸" + self._label(token), self.gutter_cells, self.look_of("chosen"))]
        row = 2 * line // self.zoom
        if row < len(self.levels) and line == self._line_of(row):
            return [self.text(" " + self._label(row), self.gutter_cells, self.look_of("label"))]
        return [self.text("", self.gutter_cells)]

    def _label(self, token: int) -> str:
        piece = show_piece(self.labels[token]) if token < len(self.labels) else ""
        room = self.gutter_cells - 2
        if cell_len(piece) > room:
            return piece[: room - 1] + "…"
        return " " * (room - cell_len(piece)) + piece

    def _line_of(self, token: int) -> int:
        """The line that names a token: the first that is all its own, or the one it shares."""
        top = token * self.zoom
        return top // 2 if self.zoom == 1 else (top + 1) // 2

    def draw_body(self, line: int) -> Strip:
        rows, _ = self.levels.shape
        upper = self.levels[min(2 * line // self.zoom, rows - 1)]
        lower_row = (2 * line + 1) // self.zoom
        lower = self.levels[lower_row] if lower_row < rows else np.full_like(upper, HIDDEN)
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
            return Segment("×" * count, self.rich_style + self.look_of("unknown"))
        return Segment((" " if upper == lower else "▀") * count, self.ink.pair(upper, lower))

    def mark(self, line: int, strip: Strip) -> Strip:
        """Draws the chosen cell: in brackets where there is room for them, else as one pixel in the accent."""
        token, key = self.cursor
        if line != self._line_of(token) or token >= len(self.levels):
            return strip
        start = key * self.wide
        cell = self._marked_pixel(token, key) if self.zoom == 1 else self._bracketed(int(self.levels[token, key]))
        return Strip.join([strip.crop(0, start), Strip([cell]), strip.crop(start + self.wide, None)])

    def _bracketed(self, level: int) -> Segment:
        style = self.ink.block(level) + Style(bold=True)
        if level >= LEVELS:
            style = self.rich_style + self.look_of("cursor")
        inside = "×" if level == UNKNOWN else " "
        return Segment("[" + inside * (self.wide - 2) + "]", style)

    def _marked_pixel(self, token: int, key: int) -> Segment:
        other = token + 1 if token % 2 == 0 else token - 1
        level = int(self.levels[other, key]) if other < len(self.levels) else HIDDEN
        accent = self.look_of("cursor").color
        triplet = accent.get_truecolor() if accent is not None else contrast(self.ink.background)
        style = paint((triplet[0], triplet[1], triplet[2]), self.ink.colour(level))
        return Segment(("▀" if token % 2 == 0 else "▄") * self.wide, style)

    def action_move(self, down: int, right: int) -> None:
        rows, past = self.levels.shape
        if rows:
            token = min(max(self.cursor[0] + down, 0), rows - 1)
            self.post_message(CellChosen(token, min(max(self.cursor[1] + right, 0), past - 1)))

    def _cell_at(self, event: events.MouseEvent) -> tuple[int, int] | None:
        cell = self.body_cell(event)
        if cell is None:
            return None
        token, key = 2 * cell[1] // self.zoom, cell[0] // self.wide
        rows, past = self.levels.shape
        return (min(token, rows - 1), key) if key < past and 2 * cell[1] < rows * self.zoom else None

    def on_click(self, event: events.Click) -> None:
        if (cell := self._cell_at(event)) is not None:
            self.post_message(CellChosen(*cell))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        self.post_message(CellPointed(self._cell_at(event)))

    def on_leave(self, event: events.Leave) -> None:
        self.post_message(CellPointed(None))
