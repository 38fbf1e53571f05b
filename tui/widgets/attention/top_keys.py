"""Keys by weight, largest first."""

import numpy as np
from jaxtyping import Float32
from rich.segment import Segment
from textual import events
from textual.reactive import reactive
from textual.strip import Strip

from edge.picture.bars import bar
from edge.picture.pieces import quote_piece
from edge.picture.units import show_weight
from tui.messages import CellChosen
from tui.widgets.grid import Grid

_PIECE, _PLACE, _NUMBER = 16, 6, 8


class TopKeys(Grid):
    """One row per key: token, position, bar, weight. A full bar is 1.

    Attributes:
        weights: One row of the pattern, up to the query; or the mean weight per key.
        labels: The piece of every token.
        chosen: The query, and the key under the cursor.
    """

    ruler_lines = 0

    weights: reactive[Float32[np.ndarray, " past"]] = reactive(lambda: np.zeros(0, np.float32), always_update=True)
    labels: reactive[tuple[str, ...]] = reactive(())
    chosen: reactive[tuple[int, int]] = reactive((0, 0))

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._order: list[int] = []

    def watch_weights(self) -> None:
        self._order = np.argsort(-self.weights, kind="stable").tolist()
        self.resize_body(self.view_cells, len(self._order))
        self._show_chosen()

    def on_resize(self) -> None:
        self.resize_body(self.view_cells, len(self._order))

    def watch_chosen(self) -> None:
        self._show_chosen()
        self.redraw()

    def _show_chosen(self) -> None:
        if self.chosen[1] in self._order:
            self.show_cell(0, self._order.index(self.chosen[1]))

    def draw_body(self, line: int) -> Strip:
        key = self._order[line]
        is_chosen = key == self.chosen[1]
        style = self.style_of("chosen") if is_chosen else None
        piece = quote_piece(self.labels[key]) if key < len(self.labels) else ""
        room = max(1, self.view_cells - _PIECE - _PLACE - _NUMBER - 4)
        weight = float(self.weights[key])
        parts: list[Segment] = [
            self.text("▸" if is_chosen else " ", 2, style),
            self.text(piece, _PIECE, style),
            self.text(f"{key:>{_PLACE - 2}}", _PLACE, self.style_of("label")),
            self.text(bar(weight, room), room, self.style_of("first")),
            self.text(f"{show_weight(weight):>{_NUMBER}}", _NUMBER, style),
        ]
        return self.fit(parts, self.view_cells)

    def action_move(self, down: int, right: int) -> None:
        if self._order:
            at = self._order.index(self.chosen[1]) if self.chosen[1] in self._order else 0
            self.post_message(CellChosen(self.chosen[0], self._order[min(max(at + down, 0), len(self._order) - 1)]))

    def on_click(self, event: events.Click) -> None:
        line = self.body_line(event)
        if line is not None and line < len(self._order):
            self.post_message(CellChosen(self.chosen[0], self._order[line]))
