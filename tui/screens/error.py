"""The error dialog."""

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static


class ErrorScreen(ModalScreen[None]):
    """One message; escape, enter, space or q closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,space,q", "dismiss", "close")]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> Iterator[Widget]:
        with VerticalScroll(id="trouble") as box:
            box.border_title = Content(self._title)
            box.border_subtitle = Content("enter closes")
            yield Static(Content(self._text))

    def on_mount(self) -> None:
        self.query_one("#trouble").focus()
