"""Pictures with a line for each layer, deep layers on top, as text flows up through them."""

from rich.segment import Segment
from textual import events
from textual.reactive import reactive

from tui.messages import LayerChosen
from tui.widgets.grid import Grid


class LayerLines(Grid):
    """Base of all pictures whose first lines are layers; other lines may follow below.

    Attributes:
        edited: Layers in which an edit acts; × stands after their numbers.
    """

    edited: reactive[frozenset[int]] = reactive(frozenset())

    gutter_cells = 7

    def watch_edited(self) -> None:
        self.redraw()

    @property
    def n_layers(self) -> int:
        """How many layers have a line."""
        raise NotImplementedError

    @property
    def chosen_layer(self) -> int:
        """The layer that is marked."""
        raise NotImplementedError

    def flip(self, layer: int) -> int:
        """Line of a layer, and layer of a line; below 0 for a line that follows the layers."""
        return self.n_layers - 1 - layer

    def draw_gutter(self, line: int) -> list[Segment]:
        layer = self.flip(line)
        mark, look = ("▸", "chosen") if layer == self.chosen_layer else (" ", "label")
        edit = "×" if layer in self.edited else ""
        return [self.text(f" {mark}{layer:>3}{edit}", self.gutter_cells, self.style_of(look))]


class LayerList(LayerLines):
    """Base of those of which a whole layer is chosen.

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
        """Chooses the layer so many lines further down, the first or the last where there are no more."""
        self.post_message(LayerChosen(min(max(self.chosen - down, 0), self.n_layers - 1)))

    def on_click(self, event: events.Click) -> None:
        line = self.body_line(event)
        if line is not None and 0 <= self.flip(line) < self.n_layers:
            self.post_message(LayerChosen(self.flip(line)))
