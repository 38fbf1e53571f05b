"""The screen as controllers see it: a Textual screen with one state."""

from textual.reactive import reactive
from textual.screen import Screen

from tui.view_state import ViewState


class StateScreen(Screen[None]):
    """A screen whose widgets all draw from one `ViewState`."""

    state: reactive[ViewState] = reactive(ViewState, init=False)
