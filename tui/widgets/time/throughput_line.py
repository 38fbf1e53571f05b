"""Inter-token latencies of the last run, or tokens per second of the run in progress."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from edge.picture.bars import column
from edge.picture.units import show_number
from edge.profile.summary import quantile
from edge.timing import RunTiming
from tui.messages import Streaming

_WIDEST = 3
"""Largest width of a token in cells."""

_KEPT = 512
"""Number of rates kept during a run."""


class ThroughputLine(Widget):
    """A line of numbers above a chart with one column per inter-token latency.

    Attributes:
        timing: Timing of the last run; None before the first.
        live: The run in progress; None without one.
    """

    DEFAULT_CSS = """
    ThroughputLine {
        height: 2;
        &> .throughput--label { color: $text-muted; }
        &> .throughput--column { color: $primary; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"throughput--label", "throughput--column"}

    timing: reactive[RunTiming | None] = reactive(None)
    live: reactive[Streaming | None] = reactive(None)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rates: list[float] = []

    def watch_live(self, live: Streaming | None) -> None:
        if live is None or live.tokens_per_second is None:
            self._rates.clear()
        else:
            self._rates = [*self._rates, live.tokens_per_second][-_KEPT:]

    def render_line(self, y: int) -> Strip:
        plain, width = self.rich_style, self.size.width
        if y == 0:
            numbers = self._live_numbers(self.live) if self.live else self._numbers()
            return Strip(list(_fitting(numbers, width, plain))).adjust_cell_length(width, plain)
        return self._chart_line(y - 1, self.size.height - 1)

    def _live_numbers(self, live: Streaming) -> list[str]:
        rate, first = live.tokens_per_second, live.ttft_ms
        return [
            " ◌ recording",
            f"{show_number(rate)} tok/s" if rate else "prefill" if first is None else "first token",
            f"{len(live.pieces) - live.prompt_length} tokens",
            *([f"ttft {show_number(first)} ms"] if first is not None else []),
        ]

    def _numbers(self) -> list[str]:
        if self.timing is None:
            return [""]
        waits, rate = self.timing.inter_token_ms, self.timing.tokens_per_second
        p50, p90 = (show_number(quantile(waits, q)) for q in (0.5, 0.9)) if waits else ("", "")
        return [
            f" recording: {show_number(rate)} tok/s" if rate else " fewer than 2 tokens, so no rate",
            *([f"inter-token p50 {p50}, p90 {p90} ms"] if waits else []),
            *self._pooling(),
            f"ttft {show_number(self.timing.ttft_ms)} ms",
        ]

    def _chart_line(self, line: int, lines: int) -> Strip:
        """One line of the chart, from the top."""
        width, plain, values = self.size.width, self.rich_style, self._values
        if not values:
            return Strip.blank(width, plain)
        top = _top_of(values)
        words, gutter = self._gutter(line, lines)
        pooled, cell = _pooled(values, max(1, width - gutter))
        shares = [value / top * lines - (lines - 1 - line) if top else 0.0 for value in pooled]
        over = [value > top and line == 0 for value in pooled]
        drawn = "".join(("▲" if is_over else column(share)) * cell for share, is_over in zip(shares, over, strict=True))
        label, chart = (plain + self.get_component_rich_style(f"throughput--{look}") for look in ("label", "column"))
        return Strip([Segment(words, label), Segment(drawn, chart)]).adjust_cell_length(width, plain)

    @property
    def _values(self) -> Sequence[float]:
        """Rates of the run in progress, or inter-token latencies of the last run."""
        return self._rates if self.live else self.timing.inter_token_ms if self.timing else ()

    @property
    def _unit(self) -> str:
        return "tok/s" if self.live else "ms"

    def _gutter(self, line: int, lines: int) -> tuple[str, int]:
        """The ends of the scale, left of the chart, and their width."""
        top = _top_of(self._values)
        high = f"{'≥' if top < max(self._values) else ''}{show_number(top)} {self._unit}"
        if lines == 1:
            return f" 0 to {high} ", len(high) + 7
        words = high if line == 0 else f"0 {self._unit}" if line == lines - 1 else ""
        return f" {words:>{len(high)}} ", len(high) + 2

    def _pooling(self) -> list[str]:
        """Notes how many values a column has, if several."""
        lines = self.size.height - 1
        if not self._values or lines < 1:
            return []
        pooled, _ = _pooled(self._values, max(1, self.size.width - self._gutter(0, lines)[1]))
        many = -(-len(self._values) // len(pooled))
        return [f"columns: max of {many}"] if many > 1 else []


def _top_of(values: Sequence[float]) -> float:
    """The value of a full column: the largest, or less if the others would be invisible."""
    usual = quantile(values, 0.9)
    return min(max(values), 2 * usual) if max(values) > 4 * usual else max(values)


def _pooled(values: Sequence[float], room: int) -> tuple[list[float], int]:
    """The largest value of each block, as many blocks as fit, and the width of one."""
    block = -(-len(values) // room)
    if block == 1:
        return list(values), min(_WIDEST, max(1, room // len(values)))
    starts = np.arange(0, len(values), block)
    return np.maximum.reduceat(np.asarray(values, np.float64), starts).tolist(), 1


def _fitting(words: Sequence[str], width: int, plain: Style) -> list[Segment]:
    """As many texts as fit, the first in bold."""
    parts, room = [Segment(words[0], plain + Style(bold=True))], width - cell_len(words[0])
    for word in words[1:]:
        text = f" · {word}"
        if cell_len(text) <= room:
            parts.append(Segment(text, plain))
            room -= cell_len(text)
    return parts
