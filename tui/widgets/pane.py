"""A titled frame around one widget."""

from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget


class Pane(Vertical):
    """A frame. Titles are plain text: output of a model is never read as markup."""

    DEFAULT_CSS = """
    Pane {
        border: round $border-blurred;
        border-title-color: $text-muted;
        border-subtitle-color: $foreground;
        padding: 0;
        height: 1fr;
        &:focus-within { border: heavy $primary; border-title-color: $primary; border-title-style: bold; }
        Grid { height: 1fr; }
    }
    """

    def __init__(self, name: str, tab: str, *children: Widget) -> None:
        super().__init__(*children, id=f"{name}-pane")
        self.tab = tab
        self._title, self._note = "", ""
        self.border_title = Content(tab)

    def set_title(self, title: str, note: str = "") -> None:
        """Sets the title, and the note on the lower border."""
        if title != self._title:
            self._title = title
            self.border_title = Content(f"{self.tab} · {title}" if title else self.tab)
        self.note(note)

    def note(self, note: str) -> None:
        """Sets the note only. An unchanged note is not set again, since that redraws the whole pane."""
        if note != self._note:
            self._note = note
            self.border_subtitle = Content(note)
