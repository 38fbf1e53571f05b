"""How silent the FFN of every layer is at every token; the chosen token's numbers stand beside it."""

import numpy as np
from jaxtyping import Float32
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.reactive import reactive
from textual.strip import Strip

from edge.picture.bars import bar
from edge.picture.levels import UNKNOWN, Linear, Scale, to_levels
from edge.picture.pieces import show_piece
from edge.picture.units import show_share
from tui.messages import TokenChosen
from tui.widgets.grid import Grid

WIDEST = 6
"""Cells a token is wide at most, however few there are."""


class SparsityMap(Grid):
    """Deep layers on top, as text flows up through them.

    Attributes:
        shares: The silent share of each layer's neurons at each token.
        scale: What the colours mean.
        labels: The piece of every token.
        chosen: Layer and token.
    """

    gutter_cells = 7
    tail_cells = 22

    shares: reactive[Float32[np.ndarray, "layer token"]] = reactive(
        lambda: np.zeros((0, 0), np.float32), always_update=True
    )
    scale: reactive[Scale] = reactive(Linear(0.0, 1.0))
    labels: reactive[tuple[str, ...]] = reactive(())
    chosen: reactive[tuple[int, int]] = reactive((0, 0))

    cell = 1

    def watch_shares(self) -> None:
        self._resize()

    def watch_scale(self) -> None:
        self._resize()

    def watch_labels(self) -> None:
        self.redraw()

    def on_resize(self) -> None:
        self._resize()

    def watch_chosen(self) -> None:
        self._show_chosen()
        self.refresh()

    def _resize(self) -> None:
        layers, tokens = self.shares.shape
        self._levels = to_levels(self.shares, self.scale)
        self.cell = min(max(self.view_cells // max(1, tokens), 1), WIDEST)
        self.resize_body(tokens * self.cell, layers)
        self._show_chosen()

    def _show_chosen(self) -> None:
        layer, token = self.chosen
        self.show_cell(token * self.cell, self._flip(layer), self.cell)

    def _flip(self, layer: int) -> int:
        """Line of a layer, and layer of a line."""
        return len(self.shares) - 1 - layer

    def draw_ruler(self) -> Strip:
        """An arrow over the chosen token, and what the columns at the right hold."""
        token = self.chosen[1]
        label = show_piece(self.labels[token]) if token < len(self.labels) else ""
        at = token * self.cell - self.scroll_offset.x + (self.cell - 1) // 2
        words = f"▾ {label}" if at + cell_len(label) + 2 <= self.view_cells else f"{label} ▾"
        start = at if words[0] == "▾" else at + 1 - cell_len(words)
        head = self.text(" layer", self.gutter_cells, self.look_of("label"))
        tail = self.text("  this token     mean ", self.tail_cells, self.look_of("label"))
        if not 0 <= start < self.view_cells:
            return self.fit([head, self.text("", self.view_cells), tail], self.width)
        arrow = [self.text("", start), self.text(words, self.view_cells - start, self.look_of("cursor"))]
        return self.fit([head, *arrow, tail], self.width)

    def draw_gutter(self, line: int) -> list[Segment]:
        layer = self._flip(line)
        if layer == self.chosen[0]:
            return [self.text(f" ▸{layer:>3}", self.gutter_cells, self.look_of("chosen"))]
        return [self.text(f"  {layer:>3}", self.gutter_cells, self.look_of("label"))]

    def draw_body(self, line: int) -> Strip:
        layer = self._flip(line)
        return Strip([self._cell(layer, token, " " * self.cell) for token in range(self.shares.shape[1])])

    def _cell(self, layer: int, token: int, words: str) -> Segment:
        level = int(self._levels[layer, token])
        if level == UNKNOWN:
            return Segment("·" * self.cell, self.rich_style + self.look_of("label"))
        return Segment(words, self.ink.block(level))

    def mark(self, line: int, strip: Strip) -> Strip:
        """Marks the chosen token on every layer's line, its layer with brackets."""
        layer, token = self._flip(line), self.chosen[1]
        if token >= self.shares.shape[1]:
            return strip
        words = f"{'│':^{self.cell}}"
        if layer == self.chosen[0]:
            words = "▪" if self.cell == 1 else "[" + " " * (self.cell - 2) + "]"
        marked = self._cell(layer, token, words)
        start = token * self.cell
        cell = Strip([Segment(marked.text, (marked.style or Style.null()) + Style(bold=True))])
        return Strip.join([strip.crop(0, start), cell, strip.crop(start + self.cell, None)])

    def draw_tail(self, line: int) -> list[Segment]:
        layer, token = self._flip(line), self.chosen[1]
        if token >= self.shares.shape[1]:
            return [self.text("", self.tail_cells)]
        share = float(self.shares[layer, token])
        mean = float(self.shares[layer].mean())
        style = self.look_of("chosen") if layer == self.chosen[0] else None
        return [
            self.text("  " + bar(share, 6), 8, self.look_of("first")),
            self.text(f"{_show(share):>6}", 6, style),
            self.text(f"{_show(mean):>8}", 8, self.look_of("label")),
        ]

    def action_move(self, down: int, right: int) -> None:
        layers, tokens = self.shares.shape
        if layers and tokens:
            token = min(max(self.chosen[1] + right, 0), tokens - 1)
            self.post_message(TokenChosen(token, min(max(self.chosen[0] - down, 0), layers - 1)))

    def on_click(self, event: events.Click) -> None:
        cell = self.body_cell(event)
        if cell is not None and cell[1] < len(self.shares) and cell[0] < self.shares.shape[1] * self.cell:
            self.post_message(TokenChosen(cell[0] // self.cell, self._flip(cell[1])))


def _show(share: float) -> str:
    return "·" if np.isnan(share) else show_share(share)
