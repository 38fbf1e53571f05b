"""No control character that stands in a name or a text reaches the terminal that shows the UI."""

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from edge.picture.escape import without_acting


class DropControlCharacters(LineFilter):
    """Leaves out of every line what has no width and what a terminal would act on."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(without_acting(text), style, control) for text, style, control in segments]
