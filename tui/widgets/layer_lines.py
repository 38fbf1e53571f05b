"""Widgets with one line per layer, deep layers at the top."""

from rich.segment import Segment
from textual import events
from textual.reactive import reactive

from tui.messages import LayerChosen
from tui.widgets.grid import Grid


class LayerLines(Grid):
    """Base of widgets whose first lines are layers; other lines may follow.

    Attributes:
        edited: Layers in which an edit acts; × follows their numbers.
    """

    edited: reactive[frozenset[int]] = reactive(frozenset())

    gutter_cells = 7

    def watch_edited(self) -> None:
        self.redraw()

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        raise NotImplementedError

    @property
    def chosen_layer(self) -> int:
        """The chosen layer, which is marked."""
        raise NotImplementedError

    def flip(self, layer: int) -> int:
        """The line of a layer, and the layer of a line; below 0 for lines after the layers."""
        return self.n_layers - 1 - layer

    def draw_gutter(self, line: int) -> list[Segment]:
        layer = self.flip(line)
        mark, look = ("▸", "chosen") if layer == self.chosen_layer else (" ", "label")
        edit = "×" if layer in self.edited else ""
        return [self.text(f" {mark}{layer:>3}{edit}", self.gutter_cells, self.style_of(look))]


class LayerList(LayerLines):
    """Base of widgets in which a whole layer is chosen.

    Attributes:
        chosen: The chosen layer.
    """

    chosen: reactive[int] = reactive(0, repaint=False)

    @property
    def chosen_layer(self) -> int:
        return self.chosen

    def watch_chosen(self, before: int, now: int) -> None:
        self.show_cell(self.scroll_offset.x, self.flip(now))
        self.redraw_lines(self.flip(before), self.flip(now))

    def choose_below(self, down: int) -> None:
        """Chooses the layer `down` lines below, within the layers."""
        self.post_message(LayerChosen(min(max(self.chosen - down, 0), self.n_layers - 1)))

    def on_click(self, event: events.Click) -> None:
        line = self.body_line(event)
        if line is not None and 0 <= self.flip(line) < self.n_layers:
            self.post_message(LayerChosen(self.flip(line)))
