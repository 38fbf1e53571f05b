"""Puts the app together: on a model, or on a saved trace."""

import edge
from edge.engines.registry import installed_engines
from edge.trace import Trace
from models.progress import Progress
from tui.app import EdgeApp
from tui.jobs.job import OpenModel, Place
from tui.runner import Runner
from tui.screens.main import MainScreen
from tui.settings import Kept


def build(
    open_model: OpenModel, place: Place, engines: tuple[str, ...], kept: Kept | None = None
) -> tuple[EdgeApp, Runner]:
    """The app on a model, and the runner to close after it."""
    main = MainScreen(Runner(open_model), place, engines, None, kept or Kept())
    return EdgeApp(main), main.runner


def build_saved(
    trace: Trace, open_model: OpenModel | None = None, engines: tuple[str, ...] = (), kept: Kept | None = None
) -> EdgeApp:
    """The app on a saved trace; its runner waits, and opens an engine only when a model is opened."""
    return EdgeApp(MainScreen(Runner(open_model or opener(None)), None, engines, trace, kept or Kept()))


def screen_of_model(model: str, engine: str, threads: int | None, kept: Kept) -> MainScreen:
    """The screen that `edge look MODEL` opens."""
    return MainScreen(Runner(opener(threads)), Place(model, engine), installed_engines(), None, kept)


def screen_of_trace(trace: Trace, threads: int | None, kept: Kept) -> MainScreen:
    """The screen that `edge look TRACE` opens."""
    return MainScreen(Runner(opener(threads)), None, installed_engines(), trace, kept)


def opener(threads: int | None) -> OpenModel:
    """What opens models, all with so many threads."""

    def open_model(name: str, engine: str, progress: Progress) -> edge.Model:
        return edge.load(name, engine, threads=threads, progress=progress)

    return open_model
