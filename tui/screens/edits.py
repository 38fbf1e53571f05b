"""The list of active edits: apply one alone, or remove edits."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from edge.change import Edit
from tui.messages import EditIsolated, EditsCleared, EditToggled
from tui.screens.dialog import Dialog
from tui.widgets.choice_list import Choice, ChoiceList

ALL, CLEAR = "all", "clear"
"""Keys of the choices that are not edits."""


class EditsScreen(Dialog[Message]):
    """Every edit by name. The answer is a message for the main screen.

    Args:
        edits: The active edits, oldest first.
        alone: The only one that is applied; None where all are.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x,delete", "remove", "remove", key_display="x", tooltip="Remove the edit under the cursor"),
        Binding("u", "clear", "clear all", tooltip="Remove all edits"),
    ]
    title_of_frame: ClassVar[str] = "edits"
    keys: ClassVar[str] = "enter selects · x removes the edit · u clears all · escape closes"

    def __init__(self, edits: Sequence[Edit], alone: Edit | None) -> None:
        super().__init__()
        self._edits = {f"edit {place}": edit for place, edit in enumerate(edits)}
        self._alone = alone

    def compose_fields(self) -> Iterator[Widget]:
        yield ChoiceList(id="edits-on")

    def on_mount(self) -> None:
        choices, count = self.query_one(ChoiceList), len(self._edits)
        choices.border_title = Content(f"{count} edit{'s' if count > 1 else ''}")
        clear = Choice(CLEAR, "clear all" if count > 1 else "clear")
        each = [Choice(key, str(edit), self._mark(edit)) for key, edit in self._edits.items()]
        groups = {"": [*each, clear]}
        if count > 1:
            together = Choice(ALL, f"all {count} edits", self._mark(None))
            groups = {"show the effect of": [together], "show the effect of one alone": each, "clear": [clear]}
        choices.offer(groups)
        choices.point_at(next((key for key, edit in self._edits.items() if edit == self._alone), ALL))
        choices.focus()
        if count > 1:
            self.note("effects of edits do not add up: two edits together can differ from the sum of each alone")

    def _mark(self, edit: Edit | None) -> str:
        return "shown" if edit == self._alone or len(self._edits) == 1 else ""

    @on(ChoiceList.OptionSelected)
    def take(self) -> None:
        key = self.query_one(ChoiceList).current_choice
        if key == CLEAR:
            self.dismiss(EditsCleared())
        elif key is not None:
            self.dismiss(EditIsolated(self._edits.get(key)))

    def action_remove(self) -> None:
        if (edit := self._edits.get(self.query_one(ChoiceList).current_choice or "")) is not None:
            self.dismiss(EditToggled(edit))
        else:
            self.refuse("x removes the edit under the cursor; u clears all")

    def action_clear(self) -> None:
        self.dismiss(EditsCleared())
