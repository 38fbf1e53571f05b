"""Makes the app for a model, or for a saved trace."""

import edge
from edge.engines.registry import installed_engines
from edge.trace import Trace
from models.progress import Progress
from tui.app import EdgeApp
from tui.jobs.job import ModelOnEngine, OpenModel
from tui.main_screen import MainScreen
from tui.runner import Runner
from tui.settings import SettingsStore


def app_on_model(
    open_model: OpenModel, target: ModelOnEngine, engines: tuple[str, ...], settings_store: SettingsStore | None = None
) -> tuple[EdgeApp, Runner]:
    """The app on a model, and the runner to close after it."""
    main = MainScreen(Runner(open_model), target, engines, None, settings_store or SettingsStore())
    return EdgeApp(main), main.runner


def app_on_trace(
    trace: Trace,
    open_model: OpenModel | None = None,
    engines: tuple[str, ...] = (),
    settings_store: SettingsStore | None = None,
) -> EdgeApp:
    """The app on a saved trace; an engine is loaded only when a model is opened."""
    return EdgeApp(
        MainScreen(Runner(open_model or model_opener(None)), None, engines, trace, settings_store or SettingsStore())
    )


def screen_of_model(model: str, engine: str, threads: int | None, settings_store: SettingsStore) -> MainScreen:
    """The screen that `edge look MODEL` opens."""
    return MainScreen(
        Runner(model_opener(threads)), ModelOnEngine(model, engine), installed_engines(), None, settings_store
    )


def screen_of_trace(trace: Trace, threads: int | None, settings_store: SettingsStore) -> MainScreen:
    """The screen that `edge look TRACE` opens."""
    return MainScreen(Runner(model_opener(threads)), None, installed_engines(), trace, settings_store)


def model_opener(threads: int | None) -> OpenModel:
    """A function that opens models with this number of threads."""

    def open_model(name: str, engine: str, progress: Progress) -> edge.Model:
        return edge.load(name, engine, threads=threads, progress=progress)

    return open_model
