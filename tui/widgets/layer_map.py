"""A map with one line per layer, or per expert, and columns of equal width; one cell is chosen."""

import numpy as np
from jaxtyping import Float32
from rich.segment import Segment
from textual import events
from textual.reactive import reactive
from textual.strip import Strip

from tui.widgets.layer_lines import LayerLines


class LayerMap(LayerLines):
    """Base of maps over layers.

    Attributes:
        chosen: Layer and column.
        cell: Width of a column in cells.
    """

    chosen: reactive[tuple[int, int]] = reactive((0, 0), repaint=False)

    cell = 1

    @property
    def values(self) -> Float32[np.ndarray, "layer column"]:
        """What is drawn."""
        raise NotImplementedError

    def update_cells(self) -> None:
        """Brings the colors and `cell` up to date with the values and the widget's size."""
        raise NotImplementedError

    def place(self) -> None:
        """Updates the cells, sizes the body and shows the chosen cell."""
        self.update_cells()
        layers, columns = self.values.shape
        self.resize_body(columns * self.cell, layers)
        self._show_chosen()

    def on_resize(self) -> None:
        self.place()

    def watch_chosen(self, before: tuple[int, int], now: tuple[int, int]) -> None:
        self._show_chosen()
        self.move_mark(before, now)

    def move_mark(self, before: tuple[int, int], now: tuple[int, int]) -> None:
        """Redraws the lines that the choice changed; a map that marks whole columns redraws all."""
        self.redraw_lines(self.flip(before[0]), self.flip(now[0]), ruler=True)

    def _show_chosen(self) -> None:
        layer, column = self.chosen
        self.show_cell(column * self.cell, self.flip(layer), self.cell)

    @property
    def n_layers(self) -> int:
        return len(self.values)

    @property
    def chosen_layer(self) -> int:
        return self.chosen[0]

    def with_cell(self, strip: Strip, column: int, cell: Segment) -> Strip:
        """The visible part of a line, with the cell of one column replaced; cells to the left are blank.

        A strip caches its crops, so a line of many tokens is not cut again when the cursor moves.
        """
        left, start = self.scroll_offset.x, column * self.cell
        seen = strip.crop(left, left + self.view_cells)
        if not left <= start <= left + self.view_cells - self.cell:
            return Strip.join([Strip.blank(left, self.rich_style), seen])
        at = start - left
        marked = [seen.crop(0, at), Strip([cell]), seen.crop(at + self.cell, None)]
        return Strip.join([Strip.blank(left, self.rich_style), *marked])

    def beside_chosen(self, down: int, right: int) -> tuple[int, int] | None:
        """Layer and column at this distance from the chosen ones, within the map; None where it is empty."""
        layers, columns = self.values.shape
        if not layers or not columns:
            return None
        layer, column = self.chosen
        line = min(max(self.flip(layer) + down, 0), layers - 1)
        return self.flip(line), min(max(column + right, 0), columns - 1)

    def under(self, event: events.MouseEvent) -> tuple[int, int] | None:
        """Layer and column under the mouse."""
        at = self.body_cell(event)
        layers, columns = self.values.shape
        if at is None or at[1] >= layers or at[0] >= columns * self.cell:
            return None
        return self.flip(at[1]), at[0] // self.cell
