"""Possible next tokens with a bar before, a bar after and the change: how one answer becomes another."""

from rich.segment import Segment
from textual.reactive import reactive
from textual.strip import Strip

from edge.insight.prediction_change import TokenChange
from edge.picture.bars import bar
from edge.picture.pieces import quote_piece
from edge.picture.units import show_weight
from tui.widgets.grid import Grid

_MARK, _NUMBER, _ARROW, _CHANGE = 2, 8, 3, 9
_LONGEST = 32
"""Cells of a bar at most."""

MOST = 11
"""Words of two answers, five of each, and the one that came next."""

_ENDS = (0.1, 0.2, 0.5, 1.0)
"""What a full bar may stand for."""


class ChangeBars(Grid):
    """One line a word; what a full bar stands for is the same before and after, and said above.

    Attributes:
        headings: What stands over the bars: before, and after.
        words: The words, in the order in which they show.
        came: The id of the token that came next in the text, which is marked; None where none did.
    """

    DEFAULT_CSS = "ChangeBars { overflow-x: hidden; }"

    headings: reactive[tuple[str, str]] = reactive(("before", "after"))
    words: reactive[tuple[TokenChange, ...]] = reactive(())
    came: reactive[int | None] = reactive(None)

    def watch_words(self) -> None:
        self._resize()
        self.scroll_to(0, 0, animate=False)

    def watch_headings(self) -> None:
        self.redraw()

    def watch_came(self) -> None:
        self.redraw()

    def on_resize(self) -> None:
        self._resize()

    def _resize(self) -> None:
        # One of two sizes: a body of another size makes Textual lay out the whole screen.
        lines = self.view_lines if len(self.words) <= self.view_lines else max(len(self.words), MOST)
        self.resize_body(self.view_cells, lines)
        self._refresh_scrollbars()  # Textual would keep one that a shorter list needs no more

    @property
    def _cells(self) -> tuple[int, int]:
        """Width of a word, and of a bar."""
        left = self.view_cells - _MARK - 2 * _NUMBER - _ARROW - _CHANGE
        word = min(max(left // 3, 8), 18)
        return word, min(max((left - word) // 2, 1), _LONGEST)

    @property
    def _end(self) -> float:
        """What a full bar stands for."""
        largest = max((max(word.before, word.after) for word in self.words), default=1.0)
        return next((end for end in _ENDS if largest <= end), 1.0)

    def draw_ruler(self) -> Strip:
        word, cells = self._cells
        label, before, after = self.style_of("label"), *self.headings
        return self.fit(
            [
                self.text(f"  bar: {self._end:g}", _MARK + word, label),
                self.text(before, cells + _NUMBER, label),
                self.text("", _ARROW),
                self.text(after, max(self.width - _MARK - word - cells - _NUMBER - _ARROW - _CHANGE, 0), label),
                self.text(f"{'change':>{_CHANGE}}", _CHANGE, label),
            ],
            self.width,
        )

    def draw_body(self, line: int) -> Strip:
        if line >= len(self.words):
            return self.fit([], self.view_cells)
        shifted, (word, cells) = self.words[line], self._cells
        is_next = shifted.id == self.came
        style = self.style_of("chosen") if is_next else None
        parts: list[Segment] = [
            self.text("▸" if is_next else " ", _MARK, style),
            self.text(quote_piece(shifted.piece), word, style),
            *self._bar(shifted.before, cells, "first"),
            self.text(" → ", _ARROW, self.style_of("label")),
            *self._bar(shifted.after, cells, "second"),
            self.text(f"{_change(shifted.after - shifted.before):>{_CHANGE}}", _CHANGE, style),
        ]
        return self.fit(parts, self.view_cells)

    def _bar(self, probability: float, cells: int, look: str) -> list[Segment]:
        drawn = bar(probability / self._end, cells)
        return [self.text(show_weight(probability), _NUMBER), self.text(drawn, cells, self.style_of(look))]

    def action_move(self, down: int, right: int) -> None:
        self.scroll_relative(y=down, animate=False)


def _change(apart: float) -> str:
    """With a sign, so that what gains is told from what loses; no sign where nothing changes."""
    return show_weight(0.0) if apart == 0 else f"{'+' if apart > 0 else '−'}{show_weight(abs(apart))}"
