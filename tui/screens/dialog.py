"""Base of dialogs: a frame, fields, and a line for notes and errors."""

from collections.abc import Iterator
from typing import ClassVar, Generic, TypeVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Static

Answer = TypeVar("Answer")


class Field(Input):
    """A text field with a title."""

    DEFAULT_CSS = """
    Field {
        height: 3;
        padding: 0 1;
        background: $surface;
        border: round $border-blurred;
        border-title-color: $text-muted;
        &:focus { border: heavy $primary; border-title-color: $primary; }
    }
    """

    def __init__(self, title: str, *, value: str = "", placeholder: str = "", id: str) -> None:
        super().__init__(value, placeholder, id=id, select_on_focus=False)
        self.border_title = Content(title)


class Dialog(ModalScreen[Answer], Generic[Answer]):
    """Base of the dialogs. An answer closes it; escape closes it with None."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background 60%; }
    Dialog > .frame {
        width: 96%;
        max-width: 110;
        height: 90%;
        max-height: 36;
        padding: 0 1;
        background: $surface;
        border: heavy $primary;
        border-title-color: $primary;
        border-subtitle-color: $text-muted;
    }
    Dialog .note { height: auto; max-height: 4; padding: 0 1; color: $text-muted; }
    Dialog .note.wrong { color: $error; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "close", tooltip="Close the dialog and change nothing"),
        Binding("tab", "app.focus_next", "next field", show=False, tooltip="Go to the next field"),
        Binding("shift+tab", "app.focus_previous", "previous field", show=False, tooltip="Go to the previous field"),
    ]

    title_of_frame: ClassVar[str]
    keys: ClassVar[str] = "enter confirms · tab next field · escape closes"

    def compose(self) -> Iterator[Widget]:
        with Vertical(classes="frame") as frame:
            frame.border_title, frame.border_subtitle = Content(self.title_of_frame), Content(self.keys)
            yield from self.compose_fields()
            yield Static(classes="note")

    def compose_fields(self) -> Iterator[Widget]:
        """The fields of the dialog."""
        raise NotImplementedError

    def note(self, text: str) -> None:
        """Shows a note about the choice."""
        self._show_note(text, False)

    def refuse(self, text: str) -> None:
        """Shows what is wrong with the answer, and stays open."""
        self._show_note(text, True)

    def _show_note(self, text: str, is_wrong: bool) -> None:
        line = self.query_one(".note", Static)
        line.set_class(is_wrong, "wrong")
        line.update(Content(f"✗ {text}" if is_wrong else text))

    def action_cancel(self) -> None:
        self.dismiss(None)
