"""A text of fixed height: changing it needs no new layout of the screen."""

from textual.content import Content
from textual.widgets import Static


class TextLine(Static):
    """A plain text; on one line it ends in an ellipsis if too long, on several lines it is cut."""

    DEFAULT_CSS = """
    TextLine { height: 1; color: $text-muted; }
    TextLine.single { text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, lines: int = 1, *, id: str) -> None:
        super().__init__(id=id, classes="single" if lines == 1 else "")
        self.styles.height = lines
        self._said: Content | None = None

    def show_text(self, words: Content | str) -> None:
        """Shows a text, unless it is shown already."""
        content = Content(words) if isinstance(words, str) else words
        if content != self._said:
            self._said = content
            self.update(content, layout=False)
