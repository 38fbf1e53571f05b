"""Edits: toggled by keys of the views, listed, shown one at a time, cleared."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from tui import messages
from tui.options import after
from tui.screens.edits import EditsScreen
from tui.screens.running import Companion, RunningScreen

WITH_EDITS = {"edits", "isolate", "clear_edits"}
"""Actions that need an edit that is on."""


class EditingScreen(RunningScreen):
    """Edits act in the run beside the one that shows; each change of them makes it anew."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "X", "edits", "edits", tooltip="List the edits that are on: show one's effect alone, remove it, clear all"
        ),
        Binding(
            "i", "isolate", "one edit", tooltip="Show the effect of the next edit alone, and after the last of all"
        ),
        Binding("u", "clear_edits", "clear edits", tooltip="End all edits"),
    ]

    def offers(self, action: str) -> bool:
        """Whether an action works now, whatever has the keys; one edit alone is shown only where there are more."""
        return action not in WITH_EDITS or len(self.state.edits) > (1 if action == "isolate" else 0)

    def action_edits(self) -> None:
        self.app.push_screen(EditsScreen(self.state.edits, self.state.alone), self.edit_as)

    def edit_as(self, answer: Message | None) -> None:
        """Does what the list of edits was answered with."""
        if answer is not None:
            self.post_message(answer)

    def action_isolate(self) -> None:
        self.post_message(messages.EditIsolated(after((None, *self.state.edits), self.state.alone)))

    def action_clear_edits(self) -> None:
        self.post_message(messages.EditsCleared())

    def on_edit_toggled(self, message: messages.EditToggled) -> None:
        if not self.state.can_run:
            self.notify("what shows is a saved trace; open its model with o to ablate", severity="warning")
            return
        if self.companion is not None and not self.companion.edits:
            self.notify(f"{self.companion.name} is no longer beside: one run stands there at a time", markup=False)
        edits = tuple(one for one in self.state.edits if str(one) != str(message.edit))
        if len(edits) == len(self.state.edits):
            edits = (*edits, message.edit)
        self.run_comparison(Companion.of_edits(edits))

    def on_edit_isolated(self, message: messages.EditIsolated) -> None:
        self.run_comparison(Companion.of_edits(self.state.edits, message.edit if len(self.state.edits) > 1 else None))

    def on_edits_cleared(self) -> None:
        self.run_comparison(None)
