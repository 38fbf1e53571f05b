"""The screen while Edge is imported: the header only."""

from collections.abc import Iterator

from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static


class OpeningScreen(Screen[None]):
    """Drawn before heavy imports."""

    DEFAULT_CSS = """
    OpeningScreen {
        background: $background;
        #opening { height: 2; padding: 0 1; background: $panel; color: $foreground; }
    }
    """

    def __init__(self, target: str) -> None:
        super().__init__()
        self._target = target

    def compose(self) -> Iterator[Widget]:
        yield Static(Content.assemble(("edge", "bold"), f"  {self._target}\n◌ opening"), id="opening")
