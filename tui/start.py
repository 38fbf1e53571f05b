"""The entry point of `edge look`: draws at once, then imports what the screen needs."""

from functools import partial
from pathlib import Path
from typing import Any

from edge.engines.choice import check_sites
from models.find_model import find_model
from models.other_formats import is_gguf
from tui.app import EdgeApp, MakeScreen, show


def look(model: str, engine: str, threads: int | None = None) -> None:
    """Opens the UI and returns when it is closed. `model` is a checkpoint, a model of the zoo, or a saved trace.

    Raises:
        EdgeError: there is no such model, or it is no trace.
        MisuseError: an unknown engine, or one that gives logits only.
    """
    path = Path(model).expanduser()
    if path.is_file() and not is_gguf(path):
        from edge.trace import open_trace

        show(EdgeApp().opening(path.name, partial(_with_trace, open_trace(path), path, threads)))
        return
    check_sites(engine, "edge look")
    find_model(model)
    show(EdgeApp().opening(f"{model} · {engine}", partial(_with_model, model, engine, threads)))


def _with_model(model: str, engine: str, threads: int | None) -> MakeScreen:
    from tui.app_factory import screen_of_model
    from tui.settings import SettingsStore, settings_file

    return partial(screen_of_model, model, engine, threads, SettingsStore(settings_file()))


def _with_trace(trace: Any, path: Path, threads: int | None) -> MakeScreen:
    from tui.app_factory import screen_of_trace
    from tui.settings import SettingsStore, settings_file

    settings_store = SettingsStore(settings_file())
    settings_store.keep_trace(path)
    return partial(screen_of_trace, trace, threads, settings_store)
