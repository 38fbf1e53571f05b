"""Words under a picture, on lines whose number never changes: saying something else lays nothing out anew."""

from textual.content import Content
from textual.widgets import Static


class TextLine(Static):
    """So many lines of plain words; what has no room ends in an ellipsis on one line, and is cut on several."""

    DEFAULT_CSS = """
    TextLine { height: 1; color: $text-muted; }
    TextLine.single { text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, lines: int = 1, *, id: str) -> None:
        super().__init__(id=id, classes="single" if lines == 1 else "")
        self.styles.height = lines
        self._said: Content | None = None

    def show_text(self, words: Content | str) -> None:
        """Shows other words, unless they are those that show."""
        content = Content(words) if isinstance(words, str) else words
        if content != self._said:
            self._said = content
            self.update(content, layout=False)
