"""Every head of every layer as one colored cell with its score."""

import numpy as np
from jaxtyping import Float32, UInt8
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.reactive import reactive
from textual.strip import Strip

from edge.picture.levels import UNKNOWN, Scale, to_levels
from tui.messages import HeadChosen
from tui.widgets.layer_map import LayerMap

NUMBERED = 6
"""Width of a head with its score; where that does not fit, a head is two cells of color."""


class HeadGrid(LayerMap):
    """One column per head.

    Attributes:
        scores: One number per layer and head.
        scale: The color scale.
        ablated: Layer and head of ablated heads; their cells begin with ×.
    """

    scores: reactive[Float32[np.ndarray, "layer head"]] = reactive(
        lambda: np.zeros((0, 0), np.float32), always_update=True
    )
    scale: reactive[Scale | None] = reactive(None)
    ablated: reactive[frozenset[tuple[int, int]]] = reactive(frozenset())

    cell = NUMBERED

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._levels: UInt8[np.ndarray, "layer head"] = np.zeros((0, 0), np.uint8)

    @property
    def values(self) -> Float32[np.ndarray, "layer head"]:
        return self.scores

    def watch_scores(self) -> None:
        self.place()

    def watch_scale(self) -> None:
        self.place()

    def watch_ablated(self) -> None:
        self.redraw()

    def update_cells(self) -> None:
        unknown = np.full(self.scores.shape, UNKNOWN, np.uint8)
        self._levels = unknown if self.scale is None else to_levels(self.scores, self.scale)
        self.cell = NUMBERED if self.scores.shape[1] * NUMBERED <= self.view_cells else 2

    def draw_ruler(self) -> Strip:
        heads = self.scores.shape[1]
        names = [str(head) if self.cell > 2 or head % 2 == 0 else "" for head in range(heads)]
        cells = [self._head_name(head, name) for head, name in enumerate(names)]
        left = self.scroll_offset.x
        seen = Strip(cells).crop(left, left + self.view_cells)
        return self.fit([self.text(" layer", self.gutter_cells, self.style_of("label")), *seen], self.width)

    def _head_name(self, head: int, name: str) -> Segment:
        style = self.style_of("chosen" if head == self.chosen[1] else "label")
        if head == self.chosen[1] and not name:
            name = "▾"
        return self.text(name.center(self.cell) if self.cell > 2 else name, self.cell, style)

    def draw_body(self, line: int) -> Strip:
        layer = self.flip(line)
        return Strip([self._cell(layer, head) for head in range(self.scores.shape[1])])

    def _cell(self, layer: int, head: int) -> Segment:
        style, words = self._look(layer, head)
        if self.cell == 2:
            return Segment("× " if (layer, head) in self.ablated else "  ", style)
        return Segment(words.center(self.cell), style)

    def _look(self, layer: int, head: int) -> tuple[Style, str]:
        level, off = int(self._levels[layer, head]), "×" if (layer, head) in self.ablated else ""
        if level == UNKNOWN:
            return self.rich_style + self.style_of("label"), off or "·"
        return self.ink.block(level), off or _in_four_cells(float(self.scores[layer, head]))

    def mark(self, line: int, strip: Strip) -> Strip:
        """Brackets around the chosen head."""
        layer, head = self.chosen
        if self.flip(line) != layer or head >= self.scores.shape[1]:
            return strip
        style, words = self._look(layer, head)
        inside = f"{words[: self.cell - 2]:^{self.cell - 2}}"
        narrow = "[×" if self.chosen in self.ablated else "[]"
        cell = Segment(f"[{inside}]" if self.cell > 2 else narrow, style + Style(bold=True))
        return self.with_cell(strip, head, cell)

    def action_move(self, down: int, right: int) -> None:
        if found := self.beside_chosen(down, right):
            self.post_message(HeadChosen(*found))

    def on_click(self, event: events.Click) -> None:
        if found := self.under(event):
            self.post_message(HeadChosen(*found))


def _in_four_cells(score: float) -> str:
    """A score of 0 or more, with the digits that fit."""
    return f"{score:.{2 if score < 9.995 else 1 if score < 99.95 else 0}f}"
