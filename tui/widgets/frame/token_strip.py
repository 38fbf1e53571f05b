"""The text as tokens: prompt, a bar, generated tokens; colored by one metric."""

import numpy as np
from jaxtyping import UInt8
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.reactive import reactive
from textual.strip import Strip

from edge.picture.pieces import show_piece
from tui.messages import TokenChosen
from tui.widgets.grid import Grid


class TokenStrip(Grid):
    """Tokens in lines as wide as the widget.

    Attributes:
        pieces: The piece of every token.
        prompt_length: Number of prompt tokens.
        chosen: The chosen token; None during a run.
        levels: One color level per token; empty where there is none.
    """

    ruler_lines = 0

    pieces: reactive[tuple[str, ...]] = reactive(())
    prompt_length: reactive[int] = reactive(0)
    chosen: reactive[int | None] = reactive(None)
    levels: reactive[UInt8[np.ndarray, " token"]] = reactive(lambda: np.zeros(0, np.uint8), always_update=True)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._places: list[list[tuple[int, int, int]]] = []

    def watch_pieces(self) -> None:
        self._lay_out()
        if self.chosen is None:
            self.scroll_end(animate=False)

    def watch_prompt_length(self) -> None:
        self._lay_out()

    def on_resize(self) -> None:
        self._lay_out()

    def watch_levels(self) -> None:
        self.redraw()

    def watch_chosen(self) -> None:
        self.redraw()
        for line, places in enumerate(self._places):
            if any(token == self.chosen for token, _, _ in places):
                self.show_cell(0, line)

    def _lay_out(self) -> None:
        """The place of every token: (token, first cell, cells) per line."""
        width, x = self.view_cells, 1
        self._places = [[]]
        for token, piece in enumerate(self.pieces):
            x += 1 if token == self.prompt_length else 0
            cells = min(cell_len(show_piece(piece)), width - 2)
            if x + cells > width and self._places[-1]:
                self._places.append([])
                x = 1
            self._places[-1].append((token, x, cells))
            x += cells
        self.virtual_size = Size(width, len(self._places))
        self.redraw()

    def draw_body(self, line: int) -> Strip:
        segments: list[Segment] = []
        x = 0
        for token, start, cells in self._places[line] if line < len(self._places) else []:
            if token == self.prompt_length and start > x:
                segments += [self.text("", start - x - 1), self.text("│", 1, self.style_of("cursor"))]
            else:
                segments.append(self.text("", start - x))
            segments.append(Segment(self.text(show_piece(self.pieces[token]), cells).text, self._style(token)))
            x = start + cells
        return self.fit(segments, self.view_cells)

    def _style(self, token: int) -> Style:
        style = self.rich_style
        if token < len(self.levels):
            style = self.ink.block(int(self.levels[token]))
        elif token < self.prompt_length:
            style += self.style_of("label")
        if token == self.chosen:
            style = self.rich_style + self.style_of("chosen") + Style(underline=True, reverse=True)
        return style

    def action_move(self, down: int, right: int) -> None:
        if self.chosen is not None:
            step = right + down * max(1, len(self._places[0]))
            self.post_message(TokenChosen(min(max(self.chosen + step, 0), len(self.pieces) - 1)))

    def on_click(self, event: events.Click) -> None:
        cell = self.body_cell(event)
        if cell is None or self.chosen is None or cell[1] >= len(self._places):
            return
        for token, start, cells in self._places[cell[1]]:
            if start <= cell[0] < start + cells:
                self.post_message(TokenChosen(token))
