"""The command palette: everything that works now, whatever has the keys, by what it is about."""

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
from tui.widgets.prompt_box import PromptBox

if TYPE_CHECKING:
    from tui.main_screen import MainScreen

ABOUT = {
    "view": "view",
    "pane": "view",
    "select": "choose",
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
"""What stands before the name of a key's action."""


NAMES = {
    "engine": "the next one",
    "open": "another model, engine or trace",
    "compare": "with another engine, model, prompt or trace",
    "edits": "list them",
    "write": "the run, the screen or its numbers",
    "help": "what is under the cursor",
}
"""What a key is called after that word, where it would only say the word again."""


def commands_of(main: "MainScreen") -> Iterator[SystemCommand]:
    """Each key that works now where the view at hand has the keys, and what has no key of its own."""
    for node, binding in offered(main):
        told = f"{binding.tooltip} · {main.app.get_key_display(binding)}"
        yield SystemCommand(title_of(node, binding), told, runs(main, node, binding.action))
    if main.session.place is not None:
        for engine in main.dialogs.other_engines:
            told = "Run the last prompt on this engine"
            yield SystemCommand(f"engine: {engine}", told, runs(main, main, f"engine('{engine}')"))
    for model in zoo_names():
        yield SystemCommand(f"open: {model}", "Load this model, which comes with Edge", _loads(main, model))
    for edit in main.state.edits:
        yield SystemCommand(f"edits: remove {edit}", "End this edit", partial(main.post_message, EditToggled(edit)))
        if len(main.state.edits) > 1:
            told = "Its effect against the run without any edit"
            yield SystemCommand(f"edits: {edit} alone", told, partial(main.post_message, EditIsolated(edit)))
    if main.session.place is not None:
        told = "Write the model for other tools or machines"
        yield SystemCommand("export: the model", told, runs(main, main, "export"))
    yield SystemCommand("settings: where they are", "Say which file remembers them", main.preferences.show_path)
    yield SystemCommand("settings: start afresh", "Show everything as at the first start", main.preferences.reset)
    yield SystemCommand("quit: leave Edge", "End what runs and leave · ctrl+q", main.app.action_quit)


def offered(main: "MainScreen") -> Iterator[tuple[DOMNode, Binding]]:
    """Actions of the pane at hand, of its view and of the screen that work now, each once, with where it acts."""
    seen: set[tuple[DOMNode, str]] = set()
    for node in nodes_of(main):
        for bindings in node._bindings.key_to_bindings.values():
            for binding in bindings:
                is_ours = bool(binding.tooltip)  # Textual's own scroll keys have none
                if is_ours and (node, binding.action) not in seen and works(main, node, binding.action):
                    seen.add((node, binding.action))
                    yield node, binding


def nodes_of(main: "MainScreen") -> Iterator[DOMNode]:
    """Whose keys count: the pane at hand, its view, the screen."""
    view = main.shown_view
    yield view.query_one(f"#{view.pane}")
    yield view
    yield main


def works(main: "MainScreen", node: DOMNode, action: str) -> bool:
    """Whether an action can be done, letters of the prompt aside."""
    _, name, parameters = parse(action)
    if node is main:
        return main.offers(name)
    return bool(node.check_action(name, parameters))


def title_of(node: DOMNode, binding: Binding) -> str:
    """What a command is called: first the view or pane that it belongs to, or a word for those of the screen."""
    view = next((one for one in node.ancestors_with_self if isinstance(one, View)), None)
    if view is None:
        action = parse(binding.action)[1]
        name = NAMES.get(action, binding.description) if action == binding.description else binding.description
        return f"{ABOUT.get(action, 'do')}: {name}"
    about = view.tabs[node.id] if node is not view and node.id in view.tabs else view.title
    return f"{about}: {binding.description}"


def runs(main: "MainScreen", node: DOMNode, action: str) -> Callable[[], Awaitable[None]]:
    """Does an action, after the keys were taken from the prompt, to which letters belong."""

    async def run() -> None:
        if isinstance(main.focused, PromptBox):
            main.set_focus(None)
        await main.app.run_action(action, node)
        if main.focused is None and main.app.screen is main:
            main.shown_view.focus_pane()

    return run


def _loads(main: "MainScreen", model: str) -> Callable[[], None]:
    engine = main.session.place.engine if main.session.place else "onnx"
    return lambda: main.session.do(Load(ModelOnEngine(model, engine)))
