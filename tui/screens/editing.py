"""Edits: toggled by keys of the views, listed, applied one at a time, cleared."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from tui import messages
from tui.options import after
from tui.screens.edits import EditsScreen
from tui.screens.running import Companion, RunningScreen

WITH_EDITS = {"edits", "isolate", "clear_edits"}
"""Actions that need an active edit."""


class EditingScreen(RunningScreen):
    """Edits are applied in the comparison run; every change of them runs it again."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("X", "edits", "edits", tooltip="List the active edits: apply one alone, remove it, clear all"),
        Binding("i", "isolate", "one edit", tooltip="Apply the next edit alone; after the last one, all of them"),
        Binding("u", "clear_edits", "clear edits", tooltip="Remove all edits"),
    ]

    def offers(self, action: str) -> bool:
        """Whether an action works now, wherever the keyboard focus is; one edit alone needs at least two edits."""
        return action not in WITH_EDITS or len(self.state.edits) > (1 if action == "isolate" else 0)

    def action_edits(self) -> None:
        self.app.push_screen(EditsScreen(self.state.edits, self.state.alone), self.edit_as)

    def edit_as(self, answer: Message | None) -> None:
        """Does what was chosen in the list of edits."""
        if answer is not None:
            self.post_message(answer)

    def action_isolate(self) -> None:
        self.post_message(messages.EditIsolated(after((None, *self.state.edits), self.state.alone)))

    def action_clear_edits(self) -> None:
        self.post_message(messages.EditsCleared())

    def on_edit_toggled(self, message: messages.EditToggled) -> None:
        if not self.state.can_run:
            self.notify("this is a saved trace; open its model with o to ablate", severity="warning")
            return
        if self.companion is not None and not self.companion.edits:
            self.notify(
                f"{self.companion.name} is no longer compared: there is one comparison run at a time", markup=False
            )
        edits = tuple(one for one in self.state.edits if str(one) != str(message.edit))
        if len(edits) == len(self.state.edits):
            edits = (*edits, message.edit)
        self.run_comparison(Companion.of_edits(edits))

    def on_edit_isolated(self, message: messages.EditIsolated) -> None:
        self.run_comparison(Companion.of_edits(self.state.edits, message.edit if len(self.state.edits) > 1 else None))

    def on_edits_cleared(self) -> None:
        self.run_comparison(None)
