"""Latency of attention and FFN per layer in one pass, as bars and numbers; runs are side by side."""

from textwrap import wrap

from rich.segment import Segment
from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip

from edge.picture.bars import bar
from edge.picture.coverage import coverage_note, coverage_text, share_title
from edge.picture.part_titles import part_title
from edge.picture.units import show_share, show_time
from edge.timing import Basis, SublayerTiming, TimesByScope
from models.parts import layers_of
from tui.widgets.layer_lines import LayerList

_TIME_CELLS = 8
_LEAST_BAR = 4


class LatencyBars(LayerList):
    """Deep layers at the top, all bars on one scale; below them the totals, and the method.

    Attributes:
        runs: Timed passes by the names of their runs; empty before there is one.
    """

    DEFAULT_CSS = "LatencyBars { scrollbar-gutter: stable; }"

    gutter_cells = 16

    runs: reactive[tuple[tuple[str, SublayerTiming], ...]] = reactive(())

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._parts: list[TimesByScope] = []
        self._layers = 0
        self._below: list[tuple[str, list[str]]] = []

    def watch_runs(self) -> None:
        self._parts = [timing.scaled_ns for _, timing in self.runs]
        self._layers = max(layers_of(scope for parts in self._parts for scope in parts), default=-1) + 1
        self._resize()

    def on_resize(self) -> None:
        self._resize()

    def _resize(self) -> None:
        columns = [_sums_of(timing, self.run_cells - 2) for _, timing in self.runs]
        names = list(dict.fromkeys(name for one in columns for name in one))
        self._below = [(name, [one.get(name, "–") for one in columns]) for name in names]
        self.resize_body(self.run_cells * len(self.runs), self._layers + len(self._below) if self.runs else 0)

    @property
    def n_layers(self) -> int:
        return self._layers

    @property
    def run_cells(self) -> int:
        """Width of one run: two bars with their times."""
        return max(self.view_cells // max(1, len(self.runs)), 2 * (_LEAST_BAR + _TIME_CELLS + 3))

    @property
    def _bar_cells(self) -> int:
        return self.run_cells // 2 - _TIME_CELLS - 3

    @property
    def longest_ns(self) -> float:
        """Time of a full bar."""
        return max((took for parts in self._parts for scope, took in parts.items() if "." in scope), default=0.0)

    def draw_ruler(self) -> Strip:
        """Titles of the bars, with the run's name where there are several."""
        label, half = self.style_of("label"), self.run_cells // 2
        words: list[Segment] = []
        for name, timing in self.runs:
            of = (f" {name}" if len(self.runs) > 1 else "") + (", scaled" if timing.coverage > 1 else "")
            words.append(self.text(f" attention{of}", half, self.style_of("first")))
            words.append(self.text(f" FFN{of}", self.run_cells - half, self.style_of("second")))
        left = self.scroll_offset.x
        seen = Strip(words).crop(left, left + self.view_cells)
        return self.fit([self.text(" layer", self.gutter_cells, label), *seen], self.width)

    def draw_gutter(self, line: int) -> list[Segment]:
        layer = self.flip(line)
        if layer >= 0:
            return super().draw_gutter(line)
        name = self._below[-1 - layer][0]
        return [self.text(f" {'' if ' ' in name else name}", self.gutter_cells, self.style_of("label"))]

    def draw_body(self, line: int) -> Strip:
        layer = self.flip(line)
        return Strip([segment for run in range(len(self.runs)) for segment in self._run_line(run, layer)])

    def _run_line(self, run: int, layer: int) -> list[Segment]:
        half = self.run_cells // 2
        if layer >= 0:
            attention = self._part(run, f"layers.{layer}.attn", half, "first")
            return [*attention, *self._part(run, f"layers.{layer}.ffn", self.run_cells - half, "second")]
        words = self._below[-1 - layer][1][run]
        return [self.text(f" {words}", self.run_cells - 1), self.text("", 1)]

    def _part(self, run: int, scope: str, cells: int, look: str) -> list[Segment]:
        took_ns = self._parts[run].get(scope)
        share = took_ns / self.longest_ns if took_ns and self.longest_ns else 0.0
        words = "–" if took_ns is None else show_time(took_ns)
        return [
            self.text("", 1),
            self.text(bar(share, self._bar_cells), self._bar_cells, self.style_of(look)),
            self.text(f" {words:>{_TIME_CELLS}}", cells - self._bar_cells - 1, Style.null()),
        ]

    def action_move(self, down: int, right: int) -> None:
        if self.runs and down:
            self._move_down(down)
        if right:
            self.scroll_to(self.scroll_x + right * self._bar_cells, None, animate=False)

    def _move_down(self, down: int) -> None:
        """Chooses layers; below layer 0, scrolls to the totals."""
        is_below = self.scroll_offset.y > self.flip(self.chosen)
        if (down > 0 and self.chosen == 0) or (down < 0 and is_below):
            self.scroll_to(None, self.scroll_y + down, animate=False)
        else:
            self.choose_below(down)


def _sums_of(timing: SublayerTiming, cells: int) -> dict[str, str]:
    """The lines below the bars: parts of the total, coverage, and the method."""
    measured = timing.measured_sums_ns if timing.basis is Basis.CLOCKED else {}
    sums = {}
    for name, took in timing.sums_ns.items():
        raw = f" · {show_time(measured[name])} measured" if name in measured else ""
        sums[part_title(name)] = f"{show_time(took)}, {show_share(took / timing.total_ns)}{raw}"
    how = f"{timing.method}; median of {timing.repeats} passes, {timing.threads} threads"
    return (
        sums
        | {"uninstrumented": f"{show_time(timing.total_ns)} per token"}
        | _wrapped("coverage", f"{coverage_text(timing)}; shares {share_title(timing)}", cells)
        | _wrapped("by", how, cells)
    )


def _wrapped(name: str, words: str, cells: int) -> dict[str, str]:
    """Wrapped lines, the first with the name."""
    lines = wrap(words, max(8, cells))
    return {(f"{name} {line}" if line else name): one for line, one in enumerate(lines)}


def sum_words(timing: SublayerTiming) -> str:
    """A short version for the border of a pane."""
    return coverage_note(timing)
