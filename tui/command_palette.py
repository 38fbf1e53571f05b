"""The command palette: all commands that work now, wherever the keyboard focus is, by topic."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from textual.actions import parse
from textual.app import SystemCommand
from textual.binding import Binding
from textual.dom import DOMNode

from models.zoo import zoo_names
from tui.jobs.job import ModelOnEngine
from tui.jobs.load import Load
from tui.messages import EditIsolated, EditToggled
from tui.views.view import View
from tui.widgets.frame.prompt_box import PromptBox

if TYPE_CHECKING:
    from tui.main_screen import MainScreen

ABOUT = {
    "view": "view",
    "pane": "view",
    "select": "select",
    "color": "show",
    "palette": "show",
    "theme": "show",
    "prompt": "run",
    "length": "run",
    "sampling": "run",
    "stop": "run",
    "engine": "engine",
    "open": "open",
    "compare": "compare",
    "edits": "edits",
    "isolate": "edits",
    "clear_edits": "edits",
    "write": "write",
    "export": "export",
    "help": "help",
}
"""Topic of a key's action."""


NAMES = {
    "engine": "the next one",
    "open": "another model, engine or trace",
    "compare": "with another engine, model, prompt or trace",
    "edits": "list them",
    "write": "the run, the screen or its numbers",
    "help": "the current pane",
}
"""Names of actions that equal their topic."""


def commands_of(main: "MainScreen") -> Iterator[SystemCommand]:
    """Each key that works now in the current view, and commands without a key."""
    for node, binding in offered(main):
        help_text = f"{binding.tooltip} · {main.app.get_key_display(binding)}"
        yield SystemCommand(title_of(node, binding), help_text, runs(main, node, binding.action))
    if main.session.target is not None:
        for engine in main.dialogs.other_engines:
            help_text = "Run the last prompt on this engine"
            yield SystemCommand(f"engine: {engine}", help_text, runs(main, main, f"engine('{engine}')"))
    for model in zoo_names():
        yield SystemCommand(f"open: {model}", "Load this bundled model", _loads(main, model))
    for edit in main.state.edits:
        yield SystemCommand(f"edits: remove {edit}", "Remove this edit", partial(main.post_message, EditToggled(edit)))
        if len(main.state.edits) > 1:
            help_text = "Apply this edit alone"
            yield SystemCommand(f"edits: {edit} alone", help_text, partial(main.post_message, EditIsolated(edit)))
    if main.session.target is not None:
        help_text = "Write the model for other tools or machines"
        yield SystemCommand("export: the model", help_text, runs(main, main, "export"))
    yield SystemCommand("settings: file", "Show the path of the settings file", main.preferences.show_path)
    yield SystemCommand("settings: reset", "Reset display options to their defaults", main.preferences.reset)
    yield SystemCommand("quit: leave Edge", "Stop the current job and quit · ctrl+q", main.app.action_quit)


def offered(main: "MainScreen") -> Iterator[tuple[DOMNode, Binding]]:
    """Actions of the current pane, its view and the screen that work now, each once, with their widget."""
    seen: set[tuple[DOMNode, str]] = set()
    for node in nodes_of(main):
        for bindings in node._bindings.key_to_bindings.values():
            for binding in bindings:
                is_edge = bool(binding.tooltip)  # Textual's own scroll keys have none
                if is_edge and (node, binding.action) not in seen and works(main, node, binding.action):
                    seen.add((node, binding.action))
                    yield node, binding


def nodes_of(main: "MainScreen") -> Iterator[DOMNode]:
    """Widgets whose keys are used: the current pane, its view, the screen."""
    view = main.shown_view
    yield view.query_one(f"#{view.pane}")
    yield view
    yield main


def works(main: "MainScreen", node: DOMNode, action: str) -> bool:
    """Whether an action works now, even while the prompt has the focus."""
    _, name, parameters = parse(action)
    if node is main:
        return main.offers(name)
    return bool(node.check_action(name, parameters))


def title_of(node: DOMNode, binding: Binding) -> str:
    """The title of a command: its view or pane, or a topic for commands of the screen, then its name."""
    view = next((one for one in node.ancestors_with_self if isinstance(one, View)), None)
    if view is None:
        action = parse(binding.action)[1]
        name = NAMES.get(action, binding.description) if action == binding.description else binding.description
        return f"{ABOUT.get(action, 'do')}: {name}"
    about = view.tabs[node.id] if node is not view and node.id in view.tabs else view.title
    return f"{about}: {binding.description}"


def runs(main: "MainScreen", node: DOMNode, action: str) -> Callable[[], Awaitable[None]]:
    """Runs an action, after moving the keyboard focus from the prompt."""

    async def run() -> None:
        if isinstance(main.focused, PromptBox):
            main.set_focus(None)
        await main.app.run_action(action, node)
        if main.focused is None and main.app.screen is main:
            main.shown_view.focus_pane()

    return run


def _loads(main: "MainScreen", model: str) -> Callable[[], None]:
    engine = main.session.target.engine if main.session.target else "onnx"
    return lambda: main.session.do(Load(ModelOnEngine(model, engine)))
