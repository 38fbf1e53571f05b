"""Settings kept between sessions: display options, and recent models and traces."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from platformdirs import user_config_path

from edge.measure.registry import MEASURES
from edge.output import write_text
from edge.picture.palettes import PALETTES
from edge.sampling import Sampling
from models.errors import EdgeError
from models.json_text import json_text
from tui.options import COLORS, LENGTHS, SAMPLED, SCORES, Options
from tui.theme import DARK

T = TypeVar("T")

FOLDER_VARIABLE = "EDGE_CONFIG"
"""Environment variable with another folder for settings."""

FORMAT = 2
"""Increased when an older Edge cannot read the settings."""

REMEMBERED = 10
"""Length of the lists of recent models and traces."""

SAMPLINGS = {"sampled": SAMPLED, "greedy": Sampling.greedy()}


@dataclass(frozen=True)
class Settings:
    """The settings.

    Attributes:
        models: The user's names of recent models, the last one first.
        traces: Files of recent traces, the last one first.
    """

    theme: str = DARK.name
    options: Options = field(default_factory=Options)
    models: tuple[str, ...] = ()
    traces: tuple[str, ...] = ()


class SettingsStore:
    """The settings of this session. Every change is written at once; without a file they last until the end.

    Attributes:
        complaint: Why the settings could not be read; empty if they could.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file, self._can_write = file, file is not None
        self.settings, self.complaint = read_settings(file) if file is not None else (Settings(), "")

    def keep(self, **changed: Any) -> str:
        """Stores fields of `Settings`; returns, once, why they cannot be written."""
        settings = replace(self.settings, **changed)
        if settings == self.settings:
            return ""
        self.settings = settings
        if self.file is None or not self._can_write:
            return ""
        try:
            write_settings(self.file, settings)
        except EdgeError as error:
            self._can_write = False
            return f"settings last until you quit: {error}"
        return ""

    def keep_options(self, before: Options, after: Options) -> str:
        """Stores changed options only: others may differ because of the current model."""
        names = [one.name for one in fields(Options)]
        changed = {name: getattr(after, name) for name in names if getattr(after, name) != getattr(before, name)}
        return self.keep(options=replace(self.settings.options, **changed))

    def keep_model(self, model: str) -> str:
        """Stores a model as the last one opened."""
        return self.keep(models=_first(model, self.settings.models))

    def keep_trace(self, trace: Path) -> str:
        """Stores a trace as the last one opened or saved."""
        return self.keep(traces=_first(str(trace.absolute()), self.settings.traces))


def settings_file() -> Path:
    """Path of the settings file."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return (Path(folder).expanduser() if folder else user_config_path("edge")) / "ui.json"


def read_settings(file: Path) -> tuple[Settings, str]:
    """The settings in a file, and why it could not be read; a damaged file is renamed.

    Unknown values are ignored: another version of Edge may have written them.
    """
    try:
        if not (file.is_file() or file.is_dir()):  # absent, a device or a pipe
            return Settings(), ""
        record = json.loads(file.read_text(encoding="utf8"))
    except OSError as error:
        return Settings(), f"settings are reset: {file} cannot be read: {error.strerror or error}"
    except ValueError:  # neither text nor JSON
        return Settings(), f"settings are reset: {file} is damaged{_set_aside(file)}"
    if not isinstance(record, dict):
        return Settings(), f"settings are reset: {file} is damaged{_set_aside(file)}"
    if record.get("format") != FORMAT:
        return Settings(), f"settings are reset: {file} is from another version of Edge{_set_aside(file)}"
    return _from_record(record), ""


def write_settings(file: Path, settings: Settings) -> None:
    """Writes the file, or leaves it unchanged on an error.

    Raises:
        EdgeError: the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgeError(f"the folder {file.parent} cannot be created: {error.strerror or error}") from error
    write_text(file, json_text(_to_record(settings), indent=2) + "\n")


def _to_record(settings: Settings) -> dict[str, Any]:
    options = settings.options
    sampling = next((name for name, kind in SAMPLINGS.items() if kind == options.sampling), "sampled")
    return {
        "format": FORMAT,
        "theme": settings.theme,
        "palette": options.palette.name,
        "head_score": options.score.field,
        "sparsity": options.sparsity.key,
        "token_color": options.color.key,
        "log_scale": options.is_log,
        "drops_first": options.drops_first,
        "max_new_tokens": options.max_new_tokens,
        "sampling": sampling,
        "models": list(settings.models),
        "traces": list(settings.traces),
    }


def _from_record(record: dict[str, Any]) -> Settings:
    options = Options()
    options = replace(
        options,
        palette=_choice_named(record, "palette", PALETTES, lambda one: one.name, options.palette),
        score=_choice_named(record, "head_score", SCORES, lambda one: one.field, options.score),
        sparsity=_choice_named(record, "sparsity", MEASURES, lambda one: one.key, options.sparsity),
        color=_choice_named(record, "token_color", COLORS, lambda one: one.key, options.color),
        is_log=record.get("log_scale") is True,
        drops_first=record.get("drops_first") is True,
        max_new_tokens=_choice_named(record, "max_new_tokens", LENGTHS, lambda one: one, options.max_new_tokens),
        sampling=SAMPLINGS.get(str(record.get("sampling")), options.sampling),
    )
    theme = record.get("theme")
    return Settings(
        theme=theme if isinstance(theme, str) else DARK.name,
        options=options,
        models=_texts(record.get("models")),
        traces=_texts(record.get("traces")),
    )


def _choice_named(record: dict[str, Any], name: str, choices: Sequence[T], key: Callable[[T], object], default: T) -> T:
    """The choice in the record; the default where it is unknown."""
    return next((choice for choice in choices if key(choice) == record.get(name)), default)


def _texts(value: object) -> tuple[str, ...]:
    found = [one for one in value if isinstance(one, str) and one] if isinstance(value, list) else []
    return tuple(found[:REMEMBERED])


def _first(one: str, others: tuple[str, ...]) -> tuple[str, ...]:
    return (one, *(other for other in others if other != one))[:REMEMBERED]


def _set_aside(file: Path) -> str:
    """Renames an unreadable file, and returns a note with its new name; a symlink stays one."""
    found = Path(os.path.realpath(file))
    kept = found.with_name(f"{found.name}.bak")
    with suppress(OSError):
        os.replace(found, kept)
        return f", old file renamed to {kept.name if found.parent == file.parent else kept}"
    return ""
