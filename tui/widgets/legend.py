"""The legend of a color scale: its ends, and other marks."""

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from edge.picture.levels import Log, Scale
from edge.picture.palettes import CIVIDIS, Palette
from edge.picture.units import show_number
from tui.widgets.palette_styles import PaletteStyles

_GRADIENT = 12


class Legend(Widget):
    """One line: name, lowest value, colors, highest value, note.

    Attributes:
        title: The colored quantity, with its unit.
        scale: The color scale; None shows nothing.
        note: Other marks of the picture.
    """

    DEFAULT_CSS = "Legend { height: 1; color: $text-muted; }"

    title: reactive[str] = reactive("")
    scale: reactive[Scale | None] = reactive(None)
    note: reactive[str] = reactive("")
    palette: reactive[Palette] = reactive(CIVIDIS)

    def render_line(self, y: int) -> Strip:
        plain, width = self.rich_style, self.size.width
        if y or self.scale is None:
            return Strip.blank(width, plain)
        _, background = self.background_colors
        shades = PaletteStyles(self.palette, background.rgb).gradient(_GRADIENT)
        low, high = self._ends(self.scale)
        kind = " log" if isinstance(self.scale, Log) else ""
        parts = [
            Segment(f" {self.title}  {low} ", plain),
            *(Segment(" ", shade) for shade in shades),
            Segment(f" {high}{kind}", plain + Style(bold=True)),
        ]
        used = sum(cell_len(part.text) for part in parts)
        if self.note and used + 3 + cell_len(self.note) <= width:
            parts.append(Segment(f"   {self.note}", plain))
        return Strip(parts).adjust_cell_length(width, plain)

    def _ends(self, scale: Scale) -> tuple[str, str]:
        low, high = _brief(scale.low), _brief(scale.high)
        return (f"≤{low}" if isinstance(scale, Log) else low), high


def _brief(value: float) -> str:
    """`0` and `0.5` as they are, longer numbers with three digits."""
    short = f"{value:g}"
    return short if len(short) < 4 else show_number(value)
