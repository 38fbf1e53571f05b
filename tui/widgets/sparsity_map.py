"""A value per layer and token as colors, such as sparsity, with the numbers of the chosen token."""

from collections.abc import Callable

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
from edge.picture.units import show_number, show_share
from tui.messages import TokenChosen
from tui.widgets.layer_map import LayerMap

WIDEST = 6
"""Largest width of a token in cells."""


def _show_points(points: float) -> str:
    small = 0 < abs(points) < 0.05
    return f"{'+' if points > 0 else '−'}<0.1pp" if small else f"{points:+.1f}pp".replace("-", "−")


FORMS: dict[str, Callable[[float], str]] = {
    "share": show_share,
    "index": show_number,
    "points": _show_points,
    "index_difference": lambda value: f"{value:+.3f}".replace("-", "−"),
}
"""How a number is written: a share, an index from 0 to 1, a difference of shares in points, or of indices."""


class SparsityMap(LayerMap):
    """One column per token.

    Attributes:
        shares: A share, an index, or a difference of two runs, per layer and token.
        form: Which of these, a key of `FORMS`.
        scale: The color scale.
        labels: The piece of every token.
        ablated: Layers without a number, since their FFN is ablated.
    """

    tail_cells = 22

    shares: reactive[Float32[np.ndarray, "layer token"]] = reactive(
        lambda: np.zeros((0, 0), np.float32), always_update=True
    )
    scale: reactive[Scale] = reactive(Linear(0.0, 1.0))
    form: reactive[str] = reactive("share")
    labels: reactive[tuple[str, ...]] = reactive(())
    ablated: reactive[frozenset[int]] = reactive(frozenset())

    @property
    def values(self) -> Float32[np.ndarray, "layer token"]:
        return self.shares

    def watch_shares(self) -> None:
        self.place()

    def watch_scale(self) -> None:
        self.place()

    def watch_form(self) -> None:
        self.redraw()

    def watch_labels(self) -> None:
        self.redraw()

    def watch_ablated(self) -> None:
        self.redraw()

    def update_cells(self) -> None:
        self._levels = to_levels(self.shares, self.scale)
        self.cell = min(max(self.view_cells // max(1, self.shares.shape[1]), 1), WIDEST)

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
        head = self.text(" layer", self.gutter_cells, self.style_of("label"))
        tail = self.text("  this token     mean ", self.tail_cells, self.style_of("label"))
        if not 0 <= start < self.view_cells:
            return self.fit([head, self.text("", self.view_cells), tail], self.width)
        arrow = [self.text("", start), self.text(words, self.view_cells - start, self.style_of("cursor"))]
        return self.fit([head, *arrow, tail], self.width)

    def draw_body(self, line: int) -> Strip:
        layer = self.flip(line)
        levels = self._levels[layer]
        ends = [*(np.flatnonzero(np.diff(levels)) + 1).tolist(), len(levels)]
        starts = [0, *ends[:-1]]
        runs = zip(starts, ends, strict=True) if len(levels) else ()
        return Strip([self._cell(layer, start, " " * self.cell, end - start) for start, end in runs])

    def _cell(self, layer: int, token: int, words: str, tokens: int = 1) -> Segment:
        """One cell, or as many as there are tokens of the same color."""
        level = int(self._levels[layer, token])
        if level == UNKNOWN:
            glyph = "×" if layer in self.ablated else "·"
            return Segment(glyph * self.cell * tokens, self.rich_style + self.style_of("label"))
        return Segment(words * tokens, self.ink.block(level))

    def mark(self, line: int, strip: Strip) -> Strip:
        """Marks the chosen token on every layer's line, its layer with brackets."""
        layer, token = self.flip(line), self.chosen[1]
        if token >= self.shares.shape[1]:
            return strip
        words = f"{'│':^{self.cell}}"
        if layer == self.chosen[0]:
            words = "▪" if self.cell == 1 else "[" + " " * (self.cell - 2) + "]"
        marked = self._cell(layer, token, words)
        return self.with_cell(strip, token, Segment(marked.text, (marked.style or Style.null()) + Style(bold=True)))

    def draw_tail(self, line: int) -> list[Segment]:
        layer, token = self.flip(line), self.chosen[1]
        if token >= self.shares.shape[1]:
            return [self.text("", self.tail_cells)]
        if layer in self.ablated:
            return [self.text("  × ablated", self.tail_cells, self.style_of("label"))]
        share = float(self.shares[layer, token])
        mean = float(self.shares[layer].mean())
        style = self.style_of("chosen") if layer == self.chosen[0] else None
        length = share if self.scale.low >= 0 else abs(share) / self.scale.high
        return [
            self.text("  " + bar(length, 5), 7, self.style_of("first" if share >= 0 else "second")),
            self.text(f"{self._show(share):>7}", 7, style),
            self.text(f"{self._show(mean):>8}", 8, self.style_of("label")),
        ]

    def _show(self, value: float) -> str:
        return "·" if np.isnan(value) else FORMS[self.form](value)

    def action_move(self, down: int, right: int) -> None:
        if found := self.beside_chosen(down, right):
            self.post_message(TokenChosen(found[1], found[0]))

    def on_click(self, event: events.Click) -> None:
        if found := self.under(event):
            self.post_message(TokenChosen(found[1], found[0]))
