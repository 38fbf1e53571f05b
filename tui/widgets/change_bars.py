"""Next-token probabilities before and after a change, as bars with the difference."""

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
"""Largest length of a bar in cells."""

MOST = 11
"""Most rows: the top 5 tokens of two predictions, and the token that follows."""

_ENDS = (0.1, 0.2, 0.5, 1.0)
"""Possible probabilities of a full bar."""


class ChangeBars(Grid):
    """One row per token; bars before and after have one scale, which is in the heading.

    Attributes:
        headings: The titles of the two columns of bars.
        words: The tokens, in display order.
        next_id: The id of the token that follows in the text, which is marked; None after the last.
    """

    DEFAULT_CSS = "ChangeBars { overflow-x: hidden; }"

    headings: reactive[tuple[str, str]] = reactive(("before", "after"))
    words: reactive[tuple[TokenChange, ...]] = reactive(())
    next_id: reactive[int | None] = reactive(None)

    def watch_words(self) -> None:
        self._resize()
        self.scroll_to(0, 0, animate=False)

    def watch_headings(self) -> None:
        self.redraw()

    def watch_next_id(self) -> None:
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
        """Width of a token, and of a bar."""
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
                self.text(f"  bar 0–{self._end:g}", _MARK + word, label),
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
        is_next = shifted.id == self.next_id
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


def _change(difference: float) -> str:
    """With a sign, except for 0."""
    return show_weight(0.0) if difference == 0 else f"{'+' if difference > 0 else '−'}{show_weight(abs(difference))}"
