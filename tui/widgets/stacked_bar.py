"""Stacked bars of time: attention, the FFN, what lies outside layers, and the gap, told apart by pattern and color."""

from collections.abc import Mapping
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from edge.picture.units import show_time

PATTERNS = {"attn": "▓", "ffn": "█", "outside": "░", "gap": "·"}
"""The cell of each kind of time; patterns tell them apart where colors do not."""

STYLES = {"attn": "first", "ffn": "second", "outside": "label", "gap": "label"}
"""The component class of each kind, of grids and of the legend."""

_NAMES = {"attn": "attention", "ffn": "FFN", "outside": "embed, head, other", "gap": "gap"}


def kind_of(part: str) -> str:
    """`attn`, `ffn` and `gap` by themselves; whatever else is outside layers."""
    return part if part in PATTERNS else "outside"


def stack(took_ns: Mapping[str, float], full_ns: float, cells: int) -> list[tuple[str, int]]:
    """How many cells of a bar each kind of time takes, in order; a bar of `full_ns` fills them all.

    Ends are rounded, not lengths, so that the whole bar is as long as the sum of its parts.
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
    """One line: each pattern and what it stands for, and what a full bar is.

    Args:
        kinds: Of those patterns that the bars have.

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
