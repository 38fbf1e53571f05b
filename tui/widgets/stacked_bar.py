"""Stacked bars of time: attention, FFN, time outside layers, unattributed time; by pattern and color."""

from collections.abc import Mapping
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from edge.picture.units import show_time
from models.sites import ATTENTION, FFN, SUBLAYER_NAMES

PATTERNS = {ATTENTION: "▓", FFN: "█", "outside": "░", "gap": "·"}
"""The character of each kind of time, for terminals without color."""

STYLES = {ATTENTION: "first", FFN: "second", "outside": "label", "gap": "label"}
"""The component class of each kind."""

_NAMES = {**SUBLAYER_NAMES, "outside": "embed, lm_head, other", "gap": "unattributed"}


def kind_of(part: str) -> str:
    """`attn`, `ffn` and `gap`; all others are `outside`."""
    return part if part in PATTERNS else "outside"


def stack(took_ns: Mapping[str, float], full_ns: float, cells: int) -> list[tuple[str, int]]:
    """The length of each part of a bar in cells; a bar of `full_ns` fills them all.

    Ends are rounded, not lengths, so that the bar is as long as its sum.
    """
    pieces: list[tuple[str, int]] = []
    until_ns, drawn = 0.0, 0
    for part, took in took_ns.items():
        until_ns += took
        end = min(cells, round(until_ns / full_ns * cells)) if full_ns else 0
        pieces.append((kind_of(part), end - drawn))
        drawn = end
    return pieces


class StackLegend(Widget):
    """One line: each pattern with its name, and the time of a full bar.

    Args:
        kinds: The patterns in the bars.

    Attributes:
        full_ns: Time of a full bar; nothing shows while it is 0.
    """

    DEFAULT_CSS = """
    StackLegend {
        height: 1;
        color: $text-muted;
        &> .grid--first { color: $primary; }
        &> .grid--second { color: $secondary; }
        &> .grid--label { color: $text-muted; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"grid--first", "grid--second", "grid--label"}

    full_ns: reactive[float] = reactive(0.0)

    def __init__(self, *kinds: str) -> None:
        super().__init__()
        self._kinds = kinds

    def render_line(self, y: int) -> Strip:
        plain, width = self.rich_style, self.size.width
        if y or not self.full_ns:
            return Strip.blank(width, plain)
        parts: list[Segment] = []
        for kind in self._kinds:
            look = self.get_component_rich_style(f"grid--{STYLES[kind]}")
            parts += [Segment(f" {PATTERNS[kind] * 2}", plain + look), Segment(f" {_NAMES[kind]} ", plain)]
        full = f"  full bar {show_time(self.full_ns)}"
        if sum(cell_len(part.text) for part in parts) + cell_len(full) <= width:
            parts.append(Segment(full, plain + Style(bold=True)))
        return Strip(parts).adjust_cell_length(width, plain)
