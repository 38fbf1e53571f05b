"""The terminal UI: opens the screen on a model, or on a saved trace."""

import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.pilot import Pilot
from textual.screen import Screen

import edge
from edge.engines.choice import engine_of
from edge.engines.registry import Progress, installed_engines
from edge.trace import Trace
from models.find import find_model
from tui.commands import commands_of
from tui.jobs.job import OpenModel, Place
from tui.runner import Runner
from tui.screens.main import MainScreen
from tui.settings import Kept, settings_file
from tui.theme import DARK, LIGHT

AutoPilot = Callable[[Pilot[Any]], Coroutine[Any, Any, None]]
"""Presses keys in place of a person."""

PATIENCE_S = 2.0
"""How long quitting waits for the pass at hand."""


class EdgeApp(App[None]):
    """Themes, commands and one screen."""

    TITLE = "edge"
    CSS_PATH: ClassVar[str] = "app.tcss"

    def __init__(self, main: MainScreen) -> None:
        super().__init__()
        self.main = main
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        kept = main.kept.settings.theme
        self.theme = kept if kept in self.available_themes else DARK.name

    def on_mount(self) -> None:
        self.push_screen(self.main)

    def get_system_commands(self, screen: Screen[Any]) -> Iterator[SystemCommand]:
        if screen is self.main:
            yield from commands_of(self.main)
        else:
            yield SystemCommand("close: what is asked", "Go back to the screen below · escape", screen.dismiss)
            yield SystemCommand("quit: leave Edge", "End what runs and leave · ctrl+q", self.action_quit)

    def watch_theme(self, theme: str) -> None:
        self.main.remember(self.main.kept.keep(theme=theme))


def build(
    open_model: OpenModel, place: Place, engines: tuple[str, ...], kept: Kept | None = None
) -> tuple[EdgeApp, Runner]:
    """The app on a model, and the runner to close after it."""
    runner = Runner(open_model)
    return EdgeApp(MainScreen(runner, place, engines, None, kept or Kept())), runner


def build_saved(
    trace: Trace, open_model: OpenModel | None = None, engines: tuple[str, ...] = (), kept: Kept | None = None
) -> EdgeApp:
    """The app on a saved trace; its runner waits, and opens an engine only when a model is opened."""
    return EdgeApp(MainScreen(Runner(open_model or opener(None)), None, engines, trace, kept or Kept()))


def show(app: EdgeApp, runner: Runner, headless: bool = False, auto_pilot: AutoPilot | None = None) -> None:
    """Runs the app until it is quit; the process ends then, whatever the engine is at."""
    try:
        app.run(headless=headless, auto_pilot=auto_pilot)
    finally:
        if not runner.close(PATIENCE_S):
            # A load cannot be interrupted, and Python would wait for its thread: leave without it.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(app.return_code or 0)
    if app.return_code:
        sys.exit(app.return_code)


def opener(threads: int | None) -> OpenModel:
    """What opens models, all with so many threads."""

    def open_model(name: str, engine: str, progress: Progress) -> edge.Model:
        return edge.load(name, engine, threads=threads, progress=progress)

    return open_model


def look(model: str, engine: str, threads: int | None = None) -> None:
    """Opens the UI and returns when it is closed. `model` is a checkpoint, a model of the zoo, or a saved trace."""
    kept, path = Kept(settings_file()), Path(model).expanduser()
    if path.is_file():
        trace = edge.open_trace(path)
        kept.keep_trace(path)
        app = build_saved(trace, opener(threads), installed_engines(), kept)
        show(app, app.main.runner)
        return
    engine_of(engine)
    find_model(model)
    show(*build(opener(threads), Place(model, engine), installed_engines(), kept))
