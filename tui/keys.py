"""The keys of the main screen, and when they work."""

from textual.binding import Binding, BindingType

from tui.view_state import ViewState
from tui.views.all_views import VIEWS

WITH_EDITS = {"edits", "isolate", "clear_edits"}
"""Actions that need an active edit."""

WITH_MODEL = {"prompt", "engine", "length", "sampling", "export"}
"""Actions that need a loaded model."""

LETTERS = {*WITH_MODEL, *WITH_EDITS, "open", "compare", "write", "view", "select", "color", "palette", "theme", "help"}
"""Actions on letter keys: while the prompt has the keyboard focus, letters are text."""

KEYS: list[BindingType] = [
    Binding("X", "edits", "edits", tooltip="List the active edits: apply one alone, remove it, clear all"),
    Binding("i", "isolate", "one edit", tooltip="Apply the next edit alone; after the last one, all of them"),
    Binding("u", "clear_edits", "clear edits", tooltip="Remove all edits"),
    Binding("o", "open", "open", tooltip="Open another model, engine or saved trace"),
    Binding("d", "compare", "compare", tooltip="Compare this run with another engine, model, prompt or trace"),
    Binding("w", "write", "write", tooltip="Write the run, this screen or its numbers to a file"),
    Binding("escape", "stop", "stop", priority=True, tooltip="Stop the current job"),
    *(
        Binding(str(number), f"view('{name}')", kind.title, show=False, tooltip=f"Show the screen {kind.title}")
        for number, (name, kind) in enumerate(VIEWS.items(), 1)
    ),
    Binding("tab", "pane(1)", "pane", tooltip="Go to the next pane of this screen"),
    Binding("shift+tab", "pane(-1)", "previous pane", show=False, tooltip="Go to the previous pane"),
    Binding("p,slash", "prompt", "prompt", tooltip="Type another prompt"),
    Binding("e", "engine", "engine", tooltip="Run the same prompt on the next engine"),
    Binding("c", "color", "color", tooltip="Color the tokens by the next metric"),
    Binding("h", "select(0, -1, 0)", "previous head", show=False, tooltip="Select the previous head"),
    Binding("l", "select(0, 1, 0)", "next head", show=False, tooltip="Select the next head"),
    Binding("j", "select(-1, 0, 0)", "layer below", show=False, tooltip="Select the layer below"),
    Binding("k", "select(1, 0, 0)", "layer above", show=False, tooltip="Select the layer above"),
    Binding(
        "left_square_bracket", "select(0, 0, -1)", "previous token", show=False, tooltip="Select the previous token"
    ),
    Binding("right_square_bracket", "select(0, 0, 1)", "next token", show=False, tooltip="Select the next token"),
    Binding("n", "length", "new tokens", show=False, tooltip="Change how many tokens a run generates: 16 to 256"),
    Binding(
        "r", "sampling", "sampling", show=False, tooltip="Sample at temperature 0.8, top-p 0.95, or decode greedily"
    ),
    Binding("y", "palette", "palette", show=False, tooltip="Use the next color palette"),
    Binding("t", "theme", "theme", show=False, tooltip="Switch between light and dark theme"),
    Binding("question_mark", "help", "help", key_display="?", tooltip="Explain the current pane"),
]
"""Keys of the panes are defined in the views and widgets."""


def works(action: str, state: ViewState, has_model: bool) -> bool:
    """Whether an action can be done in this state; one edit alone needs at least two edits."""
    if action in WITH_EDITS:
        return len(state.edits) > (1 if action == "isolate" else 0)
    if action == "compare":
        return state.main is not None
    return has_model or action not in WITH_MODEL
