"""The help: what am I looking at, the pane at hand first."""

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from tui.help import HELP


class HelpScreen(ModalScreen[None]):
    """Every section, scrolled by arrows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "close"),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]

    def __init__(self, pane: str) -> None:
        super().__init__()
        self._pane = pane

    def compose(self) -> Iterator[Widget]:
        with VerticalScroll(id="help") as scroll:
            scroll.border_title = Content("what am I looking at?")
            scroll.border_subtitle = Content("↑ ↓ scroll · escape closes")
            for name in sorted(HELP, key=lambda name: name != self._pane):
                yield Static(Content(HELP[name].title), classes="title")
                yield Static(Content(HELP[name].text))

    def on_mount(self) -> None:
        self.query_one("#help").focus()

    def action_scroll(self, lines: int) -> None:
        self.query_one("#help").scroll_relative(y=lines, animate=False)
