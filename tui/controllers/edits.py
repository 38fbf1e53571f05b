"""Edits: toggled by keys of the views, listed, applied one at a time, cleared."""

from textual.message import Message

from edge.change import Edit
from tui.comparison_request import ComparisonRequest
from tui.controllers.session import Session
from tui.controllers.state_screen import StateScreen
from tui.messages import EditChange, EditIsolated, EditsCleared, EditToggled
from tui.options import after
from tui.screens.edits import EditsScreen


class Edits:
    """Edits are applied in the comparison run; every change of them runs it again."""

    def __init__(self, screen: StateScreen, session: Session) -> None:
        self._screen, self._session = screen, session

    def show_list(self) -> None:
        """Lists the active edits in a dialog, and does what is chosen there."""
        state = self._screen.state
        self._screen.app.push_screen(EditsScreen(state.edits, state.alone), self._post)

    def _post(self, answer: Message | None) -> None:
        if answer is not None:
            self._screen.post_message(answer)

    def isolate_next(self) -> None:
        """Applies the next edit alone; after the last one, all of them."""
        state = self._screen.state
        self._screen.post_message(EditIsolated(after((None, *state.edits), state.alone)))

    def change(self, message: EditChange) -> None:
        """Changes the active edits as a message says."""
        match message:
            case EditToggled(edit):
                self._toggle(edit)
            case EditIsolated(edit):
                self._isolate(edit)
            case EditsCleared():
                self._session.run_comparison(None)

    def _toggle(self, edit: Edit) -> None:
        comparison, edits = self._session.comparison, self._screen.state.edits
        if not self._screen.state.can_run:
            self._screen.notify("this is a saved trace; open its model with o to ablate", severity="warning")
            return
        if comparison is not None and not comparison.edits:
            self._screen.notify(
                f"{comparison.name} is no longer compared: there is one comparison run at a time", markup=False
            )
        others = tuple(one for one in edits if str(one) != str(edit))
        self._session.run_comparison(
            ComparisonRequest.of_edits((*edits, edit) if len(others) == len(edits) else others)
        )

    def _isolate(self, edit: Edit | None) -> None:
        edits = self._screen.state.edits
        self._session.run_comparison(ComparisonRequest.of_edits(edits, edit if len(edits) > 1 else None))
