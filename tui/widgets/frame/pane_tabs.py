"""The tabs of a view on one line, where only one pane fits."""

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from tui.messages import PaneChosen


class PaneTabs(Widget):
    """One tab per pane; the current one is bold, underlined and marked.

    Attributes:
        shown: The name of the current pane.
        tabs: The panes by name, with their titles.
    """

    DEFAULT_CSS = "PaneTabs { height: 1; color: $text-muted; background: $surface; }"

    shown: reactive[str] = reactive("")
    tabs: reactive[dict[str, str]] = reactive(dict)

    def __init__(self, tabs: dict[str, str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.set_reactive(PaneTabs.tabs, tabs)

    def _words(self) -> list[tuple[str, str]]:
        return [(name, f" {'▸' if name == self.shown else ' '}{tab} ") for name, tab in self.tabs.items()]

    def render_line(self, y: int) -> Strip:
        plain = self.rich_style
        bold = plain + Style(bold=True, underline=True)
        parts = [Segment(words, bold if name == self.shown else plain) for name, words in self._words()]
        return Strip(parts).adjust_cell_length(self.size.width, plain)

    def on_click(self, event: events.Click) -> None:
        end = 0
        for name, words in self._words():
            end += cell_len(words)
            if event.x < end:
                self.post_message(PaneChosen(name))
                return
