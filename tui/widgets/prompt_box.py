"""The prompt: one line of text, enter runs it, escape leaves it."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Input


class PromptBox(Input):
    """An input that keeps its text after a run, so that it can be changed and run again."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "run"),
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

    def action_leave(self) -> None:
        self.post_message(self.Left())
