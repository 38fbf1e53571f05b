"""The prompt: enter runs it, escape leaves it. Control characters are shown as symbols."""

from typing import ClassVar
from unicodedata import category

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Input

_JOINER = "\u200d"
"""Joins emoji; a terminal knows what to do with it."""


class PromptBox(Input):
    """An input that keeps its text after a run."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "run", tooltip="Run this prompt"),
        Binding("escape", "leave", "panes", tooltip="Leave the prompt and go to the panes"),
    ]

    class Left(Message):
        """Escape was pressed while no job ran."""

    def __init__(self) -> None:
        super().__init__(id="prompt", select_on_focus=False)
        self.border_title = Content("prompt")

    def set_hint(self, placeholder: str, note: str) -> None:
        """Sets the placeholder, and the note on the border."""
        self.placeholder = placeholder
        self.border_subtitle = Content(note)

    @property
    def _value(self) -> Text:
        """The drawn text, with a symbol for each character that would move the cursor or change the text direction."""
        return Text("".join(_shape(letter) for letter in self.value), no_wrap=True, overflow="ignore", end="")

    def _on_paste(self, event: events.Paste) -> None:
        """Pastes all lines; Textual's input takes the first only."""
        event.prevent_default()
        event.stop()
        text = event.text.replace("\r\n", "\n").replace("\r", "\n")
        if self.selection.is_empty:
            self.insert_text_at_cursor(text)
        else:
            self.replace(text, *self.selection)

    def action_leave(self) -> None:
        self.post_message(self.Left())


def _shape(letter: str) -> str:
    """The character itself, or a symbol of one cell."""
    code = ord(letter)
    if letter == "\n":
        return "↵"
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return "\ufffd" if category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") and letter != _JOINER else letter
