"""The help: the current pane first, then its neighbors, the keys, and all others."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from tui.help import KEYS, sections


class HelpScreen(ModalScreen[None]):
    """All sections, scrolled by arrow keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "close"),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]

    def __init__(self, pane: str, neighbors: Iterable[str]) -> None:
        super().__init__()
        self._first = (pane, *neighbors, KEYS)

    def compose(self) -> Iterator[Widget]:
        with VerticalScroll(id="help") as scroll:
            scroll.border_title = Content("help")
            scroll.border_subtitle = Content("↑ ↓ scroll · escape closes")
            all_sections = sections()
            for name in dict.fromkeys((*self._first, *all_sections)):
                yield Static(Content(all_sections[name].title), classes="title")
                yield Static(Content(all_sections[name].text))

    def on_mount(self) -> None:
        self.query_one("#help").focus()

    def action_scroll(self, lines: int) -> None:
        self.query_one("#help").scroll_relative(y=lines, animate=False)
