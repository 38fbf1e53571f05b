"""A map with one line per layer or expert and one column per token: the chosen token is marked on every line."""

import numpy as np
from jaxtyping import UInt8
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip

from edge.picture.levels import Linear, Scale
from edge.picture.pieces import show_piece
from tui.widgets.layer_map import LayerMap

WIDEST = 6
"""Largest width of a token in cells."""


class TokenMap(LayerMap):
    """Base of maps over tokens.

    Attributes:
        labels: The piece of every token.
        scale: The color scale.
        levels: The color level of each cell, or a level without a color; `update_cells` computes them.
    """

    labels: reactive[tuple[str, ...]] = reactive(())
    scale: reactive[Scale] = reactive(Linear(0.0, 1.0))
    levels: UInt8[np.ndarray, "row token"]

    heading = ""
    """What the lines are, above the gutter."""
    tail_heading = ""
    """What the numbers at the right are."""

    def draw_cell(self, row: int, token: int, words: str, tokens: int = 1) -> Segment:
        """One cell with these words, or as many as there are tokens of the same level; rows are those of `values`."""
        raise NotImplementedError

    def watch_scale(self) -> None:
        self.place()

    def watch_labels(self) -> None:
        self.redraw()

    def fit_cells(self) -> None:
        """Gives tokens as many cells as there is space for."""
        self.cell = min(max(self.view_cells // max(1, self.values.shape[1]), 1), WIDEST)

    def move_mark(self, before: tuple[int, int], now: tuple[int, int]) -> None:
        """The chosen token is marked on every line."""
        if before[1] == now[1]:
            super().move_mark(before, now)
        else:
            self.refresh()

    def draw_ruler(self) -> Strip:
        """An arrow over the chosen token, and the titles of the columns at the right."""
        token = self.chosen[1]
        label = show_piece(self.labels[token]) if token < len(self.labels) else ""
        at = token * self.cell - self.scroll_offset.x + (self.cell - 1) // 2
        words = f"▾ {label}" if at + cell_len(label) + 2 <= self.view_cells else f"{label} ▾"
        start = at if words[0] == "▾" else at + 1 - cell_len(words)
        head = self.text(self.heading, self.gutter_cells, self.style_of("label"))
        tail = self.text(self.tail_heading, self.tail_cells, self.style_of("label"))
        if not 0 <= start < self.view_cells:
            return self.fit([head, self.text("", self.view_cells), tail], self.width)
        arrow = [self.text("", start), self.text(words, self.view_cells - start, self.style_of("cursor"))]
        return self.fit([head, *arrow, tail], self.width)

    def draw_body(self, line: int) -> Strip:
        row = self.flip(line)
        levels = self.levels[row]
        ends = [*(np.flatnonzero(np.diff(levels)) + 1).tolist(), len(levels)]
        starts = [0, *ends[:-1]]
        runs = zip(starts, ends, strict=True) if len(levels) else ()
        return Strip([self.draw_cell(row, start, " " * self.cell, end - start) for start, end in runs])

    def mark(self, line: int, strip: Strip) -> Strip:
        """Marks the chosen token on every line, its own line with brackets."""
        row, token = self.flip(line), self.chosen[1]
        if token >= self.values.shape[1]:
            return strip
        words = f"{'│':^{self.cell}}"
        if row == self.chosen[0]:
            words = "▪" if self.cell == 1 else "[" + " " * (self.cell - 2) + "]"
        marked = self.draw_cell(row, token, words)
        return self.with_cell(strip, token, Segment(marked.text, (marked.style or Style.null()) + Style(bold=True)))
