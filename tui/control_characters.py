"""Keeps control characters of names and texts from the terminal."""

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from edge.picture.escape import without_acting


class DropControlCharacters(LineFilter):
    """Removes control characters and zero-width characters from every line."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(without_acting(text), style, control) for text, style, control in segments]
