"""The prompt: enter runs it, escape leaves it. Any text may be typed or pasted; what has no shape shows as a sign."""

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
    """An input that keeps its text after a run, so that it can be changed and run again."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "run", tooltip="Run this prompt"),
        Binding("escape", "leave", "look", tooltip="Leave the prompt for the panes"),
    ]

    class Left(Message):
        """Escape was pressed while nothing ran."""

    def __init__(self) -> None:
        super().__init__(id="prompt", select_on_focus=False)
        self.border_title = Content("prompt")

    def tell(self, placeholder: str, note: str) -> None:
        """What to type, and what a run will do."""
        self.placeholder = placeholder
        self.border_subtitle = Content(note)

    @property
    def _value(self) -> Text:
        """What is drawn: a sign for each letter that would move the cursor or turn the text round."""
        return Text("".join(_shape(letter) for letter in self.value), no_wrap=True, overflow="ignore", end="")

    def _on_paste(self, event: events.Paste) -> None:
        """Takes all lines of what is pasted, where an input takes the first alone."""
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
    """The letter itself, or one cell that stands for it."""
    code = ord(letter)
    if letter == "\n":
        return "↵"
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return "\ufffd" if category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") and letter != _JOINER else letter
