"""What every layer costs on each engine: a bar of attention and the FFN, one scale for all."""

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.reactive import reactive
from textual.strip import Strip

from edge.picture.units import show_time
from edge.timing import Account, Took
from models.parts import layers_of
from tui.messages import LayerChosen
from tui.widgets.grid import Grid
from tui.widgets.stack import LOOKS, PATTERNS, stack

_TIME_CELLS = 8
_LEAST_CELLS = 17


class LayerStacks(Grid):
    """Deep layers on top; below them, without a bar, what belongs to no layer: it may be far longer than a layer.

    Attributes:
        engines: What the columns are.
        accounts: One pass of each engine, divided.
        chosen: The chosen layer.
    """

    DEFAULT_CSS = "LayerStacks { scrollbar-gutter: stable; }"

    gutter_cells = 9

    engines: reactive[tuple[str, ...]] = reactive(())
    accounts: reactive[tuple[Account, ...]] = reactive((), always_update=True)
    chosen: reactive[int] = reactive(0)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._layers: list[int] = []
        self._parts: list[Took] = []
        self._rests: list[Took] = []

    def watch_accounts(self) -> None:
        self._parts = [account.parts_ns for account in self.accounts]
        self._layers = layers_of(scope for parts in self._parts for scope in parts)
        sums = [account.sums_ns for account in self.accounts]
        self._rests = [{part: took for part, took in one.items() if part not in ("attn", "ffn")} for one in sums]
        self._resize()

    def on_resize(self) -> None:
        self._resize()

    def watch_chosen(self) -> None:
        self.show_cell(self.scroll_offset.x, self._flip(self.chosen))
        self.refresh()

    def _resize(self) -> None:
        self.resize_body(self.column_cells * len(self.accounts), len(self._layers) + 1 if self.accounts else 0)

    def _flip(self, layer: int) -> int:
        """Line of a layer, and layer of a line."""
        return len(self._layers) - 1 - layer

    @property
    def column_cells(self) -> int:
        """Of one engine: as wide as there is room for."""
        return max(self.view_cells // max(1, len(self.accounts)), _LEAST_CELLS)

    def took_ns(self, engine: int, layer: int) -> Took:
        """Attention and FFN of one layer; below the first layer, what belongs to none."""
        if layer < 0:
            return self._rests[engine]
        found = {part: self._parts[engine].get(f"layers.{layer}.{part}") for part in ("attn", "ffn")}
        return {part: took for part, took in found.items() if took is not None}

    @property
    def full_ns(self) -> float:
        """What a full bar stands for: the slowest layer."""
        engines = range(len(self._parts))
        return max((sum(self.took_ns(one, layer).values()) for one in engines for layer in self._layers), default=0.0)

    def chosen_words(self) -> str:
        """Attention and FFN of the chosen layer on each engine, as many as fit a frame."""
        told = []
        for engine, name in enumerate(self.engines):
            took = self.took_ns(engine, self.chosen)
            if took:
                told.append(f"{name} {' + '.join(show_time(one) for one in took.values())}")
        return f"layer {self.chosen}, attention + FFN: {', '.join(told)}" if told else ""

    def draw_ruler(self) -> Strip:
        names = [self.text(f" {name}", self.column_cells, Style(bold=True)) for name in self.engines]
        left = self.scroll_offset.x
        seen = Strip(names).crop(left, left + self.view_cells)
        return self.fit([self.text(" layer", self.gutter_cells, self.look_of("label")), *seen], self.width)

    def draw_gutter(self, line: int) -> list[Segment]:
        layer = self._flip(line)
        if layer < 0:
            return [self.text("   rest", self.gutter_cells, self.look_of("label"))]
        mark, look = ("▸", "chosen") if layer == self.chosen else (" ", "label")
        return [self.text(f" {mark}{layer:>3}", self.gutter_cells, self.look_of(look))]

    def draw_body(self, line: int) -> Strip:
        layer = self._flip(line)
        return Strip([segment for engine in range(len(self.accounts)) for segment in self._cell(engine, layer)])

    def _cell(self, engine: int, layer: int) -> list[Segment]:
        took_ns, room = self.took_ns(engine, layer), self.column_cells - _TIME_CELLS - 3
        pieces = stack(took_ns, self.full_ns, room) if layer >= 0 else []
        used = sum(long for _, long in pieces)
        words = show_time(sum(took_ns.values())) if took_ns else "–"
        return [
            self.text("", 1),
            *(self.text(PATTERNS[kind] * long, long, self.look_of(LOOKS[kind])) for kind, long in pieces),
            self.text("", room - used),
            self.text(f"{words:>{_TIME_CELLS + 1}}", _TIME_CELLS + 2),
        ]

    def action_move(self, down: int, right: int) -> None:
        if self._layers:
            if right:
                self.scroll_to(self.scroll_x + right * self.column_cells, None, animate=False)
            if down:
                self.post_message(LayerChosen(min(max(self.chosen - down, 0), self._layers[-1])))

    def on_click(self, event: events.Click) -> None:
        line = self.body_line(event)
        if line is not None and 0 <= self._flip(line) < len(self._layers):
            self.post_message(LayerChosen(self._flip(line)))
