"""What attention and the FFN of each layer cost in one decode step, as bars beside their numbers."""

from rich.segment import Segment
from textual import events
from textual.reactive import reactive
from textual.strip import Strip

from edge.picture.bars import bar
from edge.picture.units import show_share, show_time
from edge.timing import SublayerTiming
from tui.messages import LayerChosen
from tui.widgets.grid import Grid

_TIME_CELLS = 9
_REST = ("embed", "head", "other")


class LatencyBars(Grid):
    """Deep layers on top; below them what belongs to no layer. All bars have one scale.

    Attributes:
        timing: One timed pass; None before there is one.
        n_layers: Layers of the model.
        chosen: The chosen layer.
    """

    gutter_cells = 7

    timing: reactive[SublayerTiming | None] = reactive(None)
    n_layers: reactive[int] = reactive(0)
    chosen: reactive[int] = reactive(0)

    def watch_timing(self) -> None:
        self._resize()

    def watch_n_layers(self) -> None:
        self._resize()

    def on_resize(self) -> None:
        self._resize()

    def watch_chosen(self) -> None:
        self.show_cell(0, self._flip(self.chosen))
        self.refresh()

    def _resize(self) -> None:
        self.resize_body(self.view_cells, self.n_layers + 2 if self.timing else 0)

    def _flip(self, layer: int) -> int:
        """Line of a layer, and layer of a line."""
        return self.n_layers - 1 - layer

    @property
    def _bar_cells(self) -> int:
        """Width of one bar: two of them, with their times, share a line."""
        return max(4, (self.view_cells - 2 * _TIME_CELLS - 4) // 2)

    @property
    def longest_ns(self) -> float:
        """What a full bar stands for."""
        return max(self.timing.parts_ns.values(), default=0.0) if self.timing else 0.0

    def draw_ruler(self) -> Strip:
        label, cells = self.look_of("label"), self._bar_cells + _TIME_CELLS + 2
        words = [self.text("attention", cells, self.look_of("first")), self.text("FFN", cells, self.look_of("second"))]
        return self.fit([self.text(" layer", self.gutter_cells, label), *words], self.width)

    def draw_gutter(self, line: int) -> list[Segment]:
        layer = self._flip(line)
        if layer < 0:
            return [self.text("", self.gutter_cells)]
        if layer == self.chosen:
            return [self.text(f" ▸{layer:>3}", self.gutter_cells, self.look_of("chosen"))]
        return [self.text(f"  {layer:>3}", self.gutter_cells, self.look_of("label"))]

    def draw_body(self, line: int) -> Strip:
        layer = self._flip(line)
        if layer >= 0:
            parts = [*self._part(f"layers.{layer}.attn", "first"), *self._part(f"layers.{layer}.ffn", "second")]
            return self.fit(parts, self.view_cells)
        if layer == -1:
            return self.fit([], self.view_cells)
        return self.fit([segment for scope in _REST for segment in self._aside(scope)], self.view_cells)

    def _part(self, scope: str, look: str) -> list[Segment]:
        took_ns = self._took_ns(scope)
        share = took_ns / self.longest_ns if self.longest_ns else 0.0
        return [
            self.text(bar(share, self._bar_cells), self._bar_cells, self.look_of(look)),
            self.text(f"{show_time(took_ns):>{_TIME_CELLS}}", _TIME_CELLS + 2),
        ]

    def _aside(self, scope: str) -> list[Segment]:
        words = show_time(self._took_ns(scope))
        return [self.text(scope + " ", len(scope) + 1, self.look_of("label")), self.text(words, len(words) + 3)]

    def _took_ns(self, scope: str) -> float:
        return self.timing.parts_ns.get(scope, 0.0) if self.timing else 0.0

    def action_move(self, down: int, right: int) -> None:
        if self.timing:
            self.post_message(LayerChosen(min(max(self.chosen - down, 0), self.n_layers - 1)))

    def on_click(self, event: events.Click) -> None:
        line = self.body_line(event)
        if line is not None and 0 <= self._flip(line) < self.n_layers:
            self.post_message(LayerChosen(self._flip(line)))


def sum_up(timing: SublayerTiming) -> list[str]:
    """The honest lines below the bars: the total, what the parts cover, how it was measured."""
    attention = sum(took for scope, took in timing.parts_ns.items() if scope.endswith(".attn"))
    ffn = sum(took for scope, took in timing.parts_ns.items() if scope.endswith(".ffn"))
    shares = f"attention {show_share(attention / timing.total_ns)}, FFN {show_share(ffn / timing.total_ns)}"
    scaled = ", scaled to it" if timing.coverage > 1 else ""
    return [
        f"total {show_time(timing.total_ns)} a token at depth {timing.depth}: {shares}",
        f"parts measured {show_share(timing.coverage)} of the total{scaled}, gap {show_time(timing.gap_ns)}",
        f"timed apart from the run, median of {timing.repeats}, {timing.threads} threads",
        f"by {timing.method}",
    ]
