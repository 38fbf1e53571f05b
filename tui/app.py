"""The terminal UI: opens the screen on a model, or on a saved trace."""

import os
import sys
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.pilot import Pilot
from textual.screen import Screen

import edge
from edge.engines.choice import engine_of
from edge.engines.registry import Progress, installed_engines
from edge.session import find_model
from edge.trace import Trace
from tui.runner import OpenModel, Runner
from tui.screens.look import LookScreen
from tui.theme import DARK, LIGHT

AutoPilot = Callable[[Pilot[Any]], Coroutine[Any, Any, None]]
"""Presses keys in place of a person."""

PATIENCE_S = 2.0
"""How long quitting waits for the pass at hand."""


class EdgeApp(App[None]):
    """Themes, commands and one screen."""

    TITLE = "edge"
    CSS_PATH: ClassVar[str] = "app.tcss"

    def __init__(self, look: LookScreen, engines: tuple[str, ...]) -> None:
        super().__init__()
        self.look, self._engines = look, engines
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = DARK.name

    def on_mount(self) -> None:
        self.push_screen(self.look)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)
        look = self.look
        yield SystemCommand("view: log or linear", "Attention weights on the other scale", look.action_log)
        yield SystemCommand("view: first token", "Leave its column out of the map, or show it", look.action_first)
        yield SystemCommand("view: head score", "Entropy, or first-token share", look.action_score)
        yield SystemCommand("view: FFN sparsity", "Exact-zero share, or top-p 0.9", look.action_definition)
        yield SystemCommand("view: colours", "The next palette", look.action_colours)
        yield SystemCommand("view: light or dark", "The other theme of edge", look.action_theme)
        yield SystemCommand("help", "What am I looking at", look.action_help)
        for engine in self._engines:
            yield SystemCommand(
                f"engine: {engine}", "Load it and run the prompt again", partial(look.action_engine, engine)
            )


def build(open_model: OpenModel, engine: str, engines: tuple[str, ...]) -> tuple[EdgeApp, Runner]:
    """The app on a model, and the runner to close after it."""
    runner = Runner(open_model)
    return EdgeApp(LookScreen(runner, engine, engines, None), engines), runner


def build_saved(trace: Trace) -> EdgeApp:
    """The app on a saved trace: no engine, nothing to run."""
    return EdgeApp(LookScreen(None, trace.engine, (), trace), ())


def show(app: EdgeApp, runner: Runner | None, headless: bool = False, auto_pilot: AutoPilot | None = None) -> None:
    """Runs the app until it is quit; the process ends then, whatever the engine is at."""
    try:
        app.run(headless=headless, auto_pilot=auto_pilot)
    finally:
        if runner is not None and not runner.close(PATIENCE_S):
            # A load cannot be interrupted, and Python would wait for its thread: leave without it.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(app.return_code or 0)
    if app.return_code:
        sys.exit(app.return_code)


def look(model: str, engine: str, threads: int | None = None) -> None:
    """Opens the UI and returns when it is closed. `model` is a checkpoint, a model of the zoo, or a saved trace."""
    path = Path(model).expanduser()
    if path.is_file():
        show(build_saved(edge.open_trace(path)), None)
        return
    engine_of(engine)
    folder = find_model(model)

    def open_model(name: str, progress: Progress) -> edge.Model:
        return edge.load(folder, name, threads=threads, progress=progress)

    show(*build(open_model, engine, installed_engines()))
