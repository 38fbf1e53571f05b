"""What is asked over the screen: a frame, fields, and one line that says what is wrong."""

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
    """One line to type into, under a title."""

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
    """Base of the dialogs. Subclasses say what is asked; an answer closes it, and so does escape, with None."""

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
        Binding("escape", "cancel", "close", tooltip="Close this and change nothing"),
        Binding("tab", "app.focus_next", "next field", show=False, tooltip="Go to the next field"),
        Binding("shift+tab", "app.focus_previous", "field before", show=False, tooltip="Go back to the field before"),
    ]

    title_of_frame: ClassVar[str]
    keys: ClassVar[str] = "enter takes it · tab next field · escape closes"

    def compose(self) -> Iterator[Widget]:
        with Vertical(classes="frame") as frame:
            frame.border_title, frame.border_subtitle = Content(self.title_of_frame), Content(self.keys)
            yield from self.compose_fields()
            yield Static(classes="note")

    def compose_fields(self) -> Iterator[Widget]:
        """What is asked."""
        raise NotImplementedError

    def note(self, text: str) -> None:
        """Says something about what is chosen."""
        self._show_note(text, False)

    def refuse(self, text: str) -> None:
        """Says what is wrong with the answer, and waits for another."""
        self._show_note(text, True)

    def _show_note(self, text: str, is_wrong: bool) -> None:
        line = self.query_one(".note", Static)
        line.set_class(is_wrong, "wrong")
        line.update(Content(f"✗ {text}" if is_wrong else text))

    def action_cancel(self) -> None:
        self.dismiss(None)
