"""The most probable next tokens as bars; those of a comparison run below."""

from rich.segment import Segment
from textual.reactive import reactive
from textual.strip import Strip

from edge.insight.predictions import Prediction
from edge.picture.bars import bar
from edge.picture.pieces import quote_piece
from edge.picture.units import show_weight
from tui.widgets.grid import Grid

_PIECE, _NUMBER = 16, 8


class PredictionBars(Grid):
    """One row per token; the tokens of the comparison run follow.

    Attributes:
        predictions: Most probable first. A full bar is 1.
        others: Those of the comparison run; empty without one.
    """

    ruler_lines = 0

    predictions: reactive[tuple[Prediction, ...]] = reactive(())
    others: reactive[tuple[Prediction, ...]] = reactive(())

    def watch_predictions(self) -> None:
        self._resize()

    def watch_others(self) -> None:
        self._resize()

    def on_resize(self) -> None:
        self._resize()

    def _resize(self) -> None:
        self.resize_body(self.view_cells, len(self._lines_of()))

    def _lines_of(self) -> list[tuple[Prediction | None, str]]:
        own = [(prediction, "first") for prediction in self.predictions]
        if not self.others:
            return [*own]
        return [*own, (None, "label"), *((prediction, "second") for prediction in self.others)]

    def draw_body(self, line: int) -> Strip:
        prediction, look = self._lines_of()[line]
        if prediction is None:
            return self.fit([self.text(" comparison run", self.view_cells, self.style_of("label"))], self.view_cells)
        room = max(1, self.view_cells - _PIECE - _NUMBER - 2)
        parts: list[Segment] = [
            self.text(" " + quote_piece(prediction.piece), _PIECE),
            self.text(bar(prediction.probability, room), room, self.style_of(look)),
            self.text(f"{show_weight(prediction.probability):>{_NUMBER}}", _NUMBER),
        ]
        return self.fit(parts, self.view_cells)
