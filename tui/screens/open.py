"""The open dialog: a model on this machine or of the hub, on an engine; or a saved trace."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from edge.engines.choice import engine_of
from models.errors import EdgeError, MisuseError
from models.find_model import find_model, similar_names
from models.found.hub_cache import IncompleteDownloadError
from models.hub import hub_name
from models.other_formats import is_gguf, name_in_url
from tui.available_models import AvailableItem, AvailableModels, engine_choices, find_available
from tui.background_reader import BackgroundReader, BackgroundTaskFailed
from tui.jobs.job import Job, ModelOnEngine
from tui.jobs.load import Load
from tui.jobs.open_trace import OpenTrace
from tui.jobs.pull import Pull
from tui.screens.dialog import Dialog, Field
from tui.settings import Settings
from tui.widgets.choice_list import Choice, ChoiceList

_PLACEHOLDER = "a folder, a .gguf file, a trace, llama3.2:1b, owner/model, owner/model:Q4_K_M"

TRACE = "trace:"
"""Prefix of the keys of traces, which may equal a folder of a model."""


@dataclass
class AvailableModelsFound(Message):
    """Models and traces on this machine were listed."""

    available: AvailableModels


class OpenScreen(Dialog[Job]):
    """A list of models and traces, a list of engines, and a field for others."""

    DEFAULT_CSS = """
    #open-engines { width: 18; }
    #open-models { width: 1fr; }
    """
    title_of_frame: ClassVar[str] = "open a model or a saved trace"
    keys: ClassVar[str] = "enter or a second click opens · tab next field · escape closes"

    def __init__(
        self, reader: BackgroundReader, settings: Settings, target: ModelOnEngine | None, installed: tuple[str, ...]
    ) -> None:
        super().__init__()
        self._reader, self._settings, self._target = reader, settings, target
        self._installed = installed
        self._stored: dict[str, str] = {}
        self._warned = ""

    def compose_fields(self) -> Iterator[Widget]:
        yield Field("path or name", placeholder=_PLACEHOLDER, id="open-path")
        with Horizontal():
            yield ChoiceList(id="open-models")
            yield ChoiceList(id="open-engines")

    def on_mount(self) -> None:
        models, engines = self.query_one("#open-models", ChoiceList), self.query_one("#open-engines", ChoiceList)
        models.border_title, engines.border_title = Content("models and traces"), Content("engine")
        models.offer({"": [Choice("", "listing …", works=False)]})
        self._offer_engines("")
        engines.point_at(self._target.engine if self._target else "onnx")
        missing = [f"to install {key}: {fix}" for key, fix in engine_choices(self._installed) if fix and ":" not in key]
        self.note("\n".join(missing))
        models.focus()
        settings = self._settings
        self._reader.submit(
            "models", lambda: AvailableModelsFound(find_available(settings.models, settings.traces)), self
        )

    def on_available_models_found(self, message: AvailableModelsFound) -> None:
        available, models = message.available, self.query_one("#open-models", ChoiceList)
        self._stored = {one.name: one.stored for items in available.models.values() for one in items}
        by_source = {source: _choices(items) for source, items in available.models.items()}
        models.offer(by_source | {"recent traces": _choices(available.traces, TRACE)})
        models.point_at(self._target.model if self._target else "")

    @on(ChoiceList.OptionHighlighted, "#open-models")
    def offer_what_runs(self) -> None:
        """Stored quantized weights run in their precision only."""
        self._offer_engines(self._stored.get(self.query_one("#open-models", ChoiceList).current_choice or "", ""))

    def _offer_engines(self, stored: str) -> None:
        """Lists engines; the cursor stays on the same engine, in the same precision if offered."""
        engines = self.query_one("#open-engines", ChoiceList)
        chosen, offered = engines.current_choice or "onnx", engine_choices(self._installed, stored)
        installed = [Choice(key, key) for key, fix in offered if not fix]
        lacking = [Choice(key, key, works=False) for key, fix in offered if fix]
        engines.offer({"": installed, "not installed": lacking})
        keys, name = [key for key, _ in offered], engine_of(chosen).name
        engines.point_at(chosen if chosen in keys else next(key for key in keys if engine_of(key).name == name))

    def on_background_task_failed(self, message: BackgroundTaskFailed) -> None:
        self.refuse(f"models and traces could not be listed: {message.text}")

    @on(ChoiceList.OptionSelected)
    def open_chosen(self) -> None:
        key = self.query_one("#open-models", ChoiceList).current_choice
        if key is None:
            self.refuse("choose a model or a trace in the list")
        elif key.startswith(TRACE):
            self.dismiss(OpenTrace(Path(key.removeprefix(TRACE))))
        else:
            self.dismiss(Load(ModelOnEngine(key, self._engine)))

    @on(Field.Submitted)
    def open_typed(self, event: Field.Submitted) -> None:
        if text := event.value.strip():
            self._open_named(text)
        else:
            self.open_chosen()

    def _open_named(self, text: str) -> None:
        """Opens a path or name. The hub is used only after a second enter: a mistyped folder looks like an id."""
        text = name_in_url(text) or text
        path = Path(os.path.expanduser(text))
        try:
            if path.is_file() and not is_gguf(path):
                self.dismiss(OpenTrace(path))
                return
            find_model(text)
        except (EdgeError, OSError) as error:
            self._offer_pull(text, error)
            return
        self.dismiss(Load(ModelOnEngine(str(path.absolute()) if path.exists() else text, self._engine)))

    def _offer_pull(self, text: str, error: Exception) -> None:
        """Refuses what is not on this machine; downloads a name of the hub after a second enter."""
        is_absent = isinstance(error, MisuseError | IncompleteDownloadError)
        if not is_absent:
            self.refuse(str(error))
        elif hub_name(text) is None:
            similar = ", ".join(similar_names(text))
            hint = f"similar names: {similar}" if similar else "a hub id looks like openai-community/gpt2"
            self.refuse(f"there is no folder or file '{text}', and no model of that name in the list; {hint}")
        elif self._warned == text:
            self.dismiss(Pull(ModelOnEngine(text, self._engine)))
        else:
            self._warned = text
            self.refuse(f"'{text}' is not on this machine; enter again downloads it from the Hugging Face hub")

    @property
    def _engine(self) -> str:
        return self.query_one("#open-engines", ChoiceList).current_choice or "onnx"


def _choices(held: Sequence[AvailableItem], prefix: str = "") -> list[Choice]:
    return [Choice(prefix + one.name, _brief(one.name), one.description, one.opens) for one in held]


def _brief(name: str) -> str:
    """A short path: from the home folder, and without the middle if it is long."""
    path = Path(name)
    if not path.is_absolute():
        return name
    home = Path.home()
    short = f"~/{path.relative_to(home)}" if path.is_relative_to(home) else name
    return short if len(short) <= 40 else f"…/{Path(*path.parts[-2:])}"
