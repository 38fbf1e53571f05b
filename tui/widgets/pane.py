"""A titled frame around one picture; its title is the tab's where panes are folded."""

from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget


class Pane(Vertical):
    """A frame. Titles are plain text: what a model wrote is never read as markup."""

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
        self.entitle("")

    def entitle(self, title: str, note: str = "") -> None:
        """Sets the title, and the note at the lower edge."""
        self.border_title = Content(f"{self.tab} · {title}" if title else self.tab)
        self.border_subtitle = Content(note)
