"""Latency per layer on each engine: a stacked bar of attention and FFN, one scale for all."""

from collections.abc import Iterator

from rich.segment import Segment
from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip

from edge.picture.units import show_time
from edge.timing import Basis, TimeBreakdown, TimesByScope
from models.parts import layers_of
from models.sites import SUBLAYERS
from tui.widgets.layer_lines import LayerList
from tui.widgets.stacked_bar import PATTERNS, STYLES, stack

_TIME_CELLS = 8
_LEAST_CELLS = 17


class LayerStacks(LayerList):
    """Deep layers at the top; below them the time outside layers, without a bar, since it may be far longer.

    Attributes:
        engines: The columns.
        accounts: One pass of each engine, by part; scaled to the pass where timers slowed it.
    """

    DEFAULT_CSS = "LayerStacks { scrollbar-gutter: stable; }"

    gutter_cells = 9

    engines: reactive[tuple[str, ...]] = reactive(())
    accounts: reactive[tuple[TimeBreakdown, ...]] = reactive((), always_update=True)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._layers: list[int] = []
        self._parts: list[TimesByScope] = []
        self._rests: list[TimesByScope] = []

    def watch_accounts(self) -> None:
        self._parts = [account.scaled_ns for account in self.accounts]
        self._layers = layers_of(scope for parts in self._parts for scope in parts)
        sums = [account.sums_ns for account in self.accounts]
        self._rests = [{part: took for part, took in one.items() if part not in SUBLAYERS} for one in sums]
        self._resize()

    def on_resize(self) -> None:
        self._resize()

    def _resize(self) -> None:
        self.resize_body(self.column_cells * len(self.accounts), len(self._layers) + 1 if self.accounts else 0)

    @property
    def n_layers(self) -> int:
        return len(self._layers)

    @property
    def column_cells(self) -> int:
        """Width of one engine's column."""
        return max(self.view_cells // max(1, len(self.accounts)), _LEAST_CELLS)

    def took_ns(self, engine: int, layer: int) -> TimesByScope:
        """Attention and FFN of one layer; below layer 0, the time outside layers."""
        if layer < 0:
            return self._rests[engine]
        found = {part: self._parts[engine].get(f"layers.{layer}.{part}") for part in SUBLAYERS}
        return {part: took for part, took in found.items() if took is not None}

    @property
    def full_ns(self) -> float:
        """Time of a full bar: the slowest layer."""
        engines = range(len(self._parts))
        return max((sum(self.took_ns(one, layer).values()) for one in engines for layer in self._layers), default=0.0)

    def chosen_words(self) -> str:
        """Attention and FFN of the chosen layer on each engine."""
        times = []
        for engine, name in enumerate(self.engines):
            took = self.took_ns(engine, self.chosen)
            if took:
                times.append(f"{name} {' + '.join(show_time(one) for one in took.values())}")
        return f"layer {self.chosen}, attention + FFN: {', '.join(times)}" if times else ""

    def draw_ruler(self) -> Strip:
        names = [self.text(f" {name}", self.column_cells, Style(bold=True)) for name in self._names()]
        left = self.scroll_offset.x
        seen = Strip(names).crop(left, left + self.view_cells)
        return self.fit([self.text(" layer", self.gutter_cells, self.style_of("label")), *seen], self.width)

    def _names(self) -> Iterator[str]:
        """Engines, and whether their times are scaled."""
        for name, account in zip(self.engines, self.accounts, strict=False):
            yield f"{name}, scaled" if account.basis is Basis.CLOCKED else name

    def draw_gutter(self, line: int) -> list[Segment]:
        if self.flip(line) >= 0:
            return super().draw_gutter(line)
        return [self.text("   rest", self.gutter_cells, self.style_of("label"))]

    def draw_body(self, line: int) -> Strip:
        layer = self.flip(line)
        return Strip([segment for engine in range(len(self.accounts)) for segment in self._cell(engine, layer)])

    def _cell(self, engine: int, layer: int) -> list[Segment]:
        took_ns, room = self.took_ns(engine, layer), self.column_cells - _TIME_CELLS - 3
        pieces = stack(took_ns, self.full_ns, room) if layer >= 0 else []
        used = sum(long for _, long in pieces)
        words = show_time(sum(took_ns.values())) if took_ns else "–"
        return [
            self.text("", 1),
            *(self.text(PATTERNS[kind] * long, long, self.style_of(STYLES[kind])) for kind, long in pieces),
            self.text("", room - used),
            self.text(f"{words:>{_TIME_CELLS + 1}}", _TIME_CELLS + 2),
        ]

    def action_move(self, down: int, right: int) -> None:
        if self._layers:
            if right:
                self.scroll_to(self.scroll_x + right * self.column_cells, None, animate=False)
            if down:
                self.choose_below(down)
