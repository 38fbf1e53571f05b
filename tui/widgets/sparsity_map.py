"""A value per layer and token as colors, such as sparsity, with the numbers of the chosen token."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32
from rich.segment import Segment
from textual import events
from textual.reactive import reactive

from edge.picture.bars import bar
from edge.picture.levels import UNKNOWN, to_levels
from edge.picture.units import show_number, show_share
from tui.messages import TokenChosen
from tui.widgets.token_map import TokenMap


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


class SparsityMap(TokenMap):
    """One column per token.

    Attributes:
        shares: A share, an index, or a difference of two runs, per layer and token.
        form: Which of these, a key of `FORMS`.
        ablated: Layers without a number, since their FFN is ablated.
    """

    tail_cells = 22
    heading, tail_heading = " layer", "  this token     mean "

    shares: reactive[Float32[np.ndarray, "layer token"]] = reactive(
        lambda: np.zeros((0, 0), np.float32), always_update=True
    )
    form: reactive[str] = reactive("share")
    ablated: reactive[frozenset[int]] = reactive(frozenset())

    @property
    def values(self) -> Float32[np.ndarray, "layer token"]:
        return self.shares

    def watch_shares(self) -> None:
        self.place()

    def watch_form(self) -> None:
        self.redraw()

    def watch_ablated(self) -> None:
        self.redraw()

    def update_cells(self) -> None:
        self.levels = to_levels(self.shares, self.scale)
        self.fit_cells()

    def draw_cell(self, row: int, token: int, words: str, tokens: int = 1) -> Segment:
        level = int(self.levels[row, token])
        if level == UNKNOWN:
            glyph = "×" if row in self.ablated else "·"
            return Segment(glyph * self.cell * tokens, self.rich_style + self.style_of("label"))
        return Segment(words * tokens, self.ink.block(level))

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
