"""The models on this machine, with what their headers say, for lists."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.stored_kinds import main_kinds, precision_name
from export.quantizing import stored_precision
from models.checkpoint import open_checkpoint
from models.errors import EdgeError
from models.find_model import find_model
from models.found.given import given_models
from models.found.place import BrokenModel, FoundModel
from models.found.places import models_of, places
from models.parameters import parameter_count
from models.sources.gguf.choice import part_names
from models.sources.gguf.file import open_gguf
from models.zoo import zoo_folder, zoo_names

BUNDLED, GIVEN = "bundled", "folder"
"""Sources of models that no other program keeps."""

_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth")
"""Endings of files of weights, also of those that Edge does not read."""

_LONGEST_CLAUSE = 120


@dataclass(frozen=True)
class Sizes:
    """What Edge reads in the headers of a model.

    Attributes:
        precision: The stored precision; of GGUF files the main types.
        stored: The precision of stored quantized weights as engines name it; empty for floats.
    """

    parameters: int
    n_layers: int
    stored_bytes: int
    precision: str
    stored: str


@dataclass(frozen=True)
class Unread:
    """A model that Edge does not read.

    Attributes:
        why: A clause.
        stored_bytes: Bytes of its files of weights; None if they are unknown.
        precision: The main types of a GGUF file; empty if they are unknown.
    """

    why: str
    stored_bytes: int | None = None
    precision: str = ""


@dataclass(frozen=True)
class ListedModel:
    """A model on this machine.

    Attributes:
        name: What a user types for it.
        source: The program that keeps it, or how it came here.
    """

    name: str
    source: str
    contents: Sizes | Unread


def listed_models(folders: Sequence[Path] = ()) -> Iterator[ListedModel]:
    """Bundled models, those of the hub's cache and of other programs, and those in some folders.

    A model that several programs keep in the same file is listed once.

    Raises:
        MisuseError: a folder does not exist.
    """
    bundled = [FoundModel(name, folder) for name in zoo_names() if (folder := zoo_folder(name)) is not None]
    sources: list[tuple[str, Iterable[FoundModel | BrokenModel]]] = [(BUNDLED, bundled)]
    sources += [(place.title, models_of(place)) for place in places()]
    sources += [(GIVEN, given_models(folder)) for folder in folders]
    known: dict[str, str] = {}
    for source, models in sources:
        for model in models:
            if isinstance(model, BrokenModel):
                yield ListedModel(model.name, source, Unread(model.problem))
            elif known.setdefault(os.path.realpath(model.path), source) == source:
                yield describe(_name_of(model), source, model.path)


def describe(name: str, source: str, path: Path) -> ListedModel:
    """Describes a checkpoint by its headers, or says why Edge does not read it."""
    try:
        checkpoint = open_checkpoint(path)
    except EdgeError as error:
        return ListedModel(name, source, Unread(clause_of(error, path), _bytes_of(path), _kinds_in(path)))
    sizes = Sizes(
        parameter_count(checkpoint.spec),
        checkpoint.spec.n_layers,
        checkpoint.stored_bytes,
        precision_name(checkpoint),
        str(stored_precision(checkpoint) or ""),
    )
    return ListedModel(name, source, sizes)


def clause_of(error: EdgeError, path: Path) -> str:
    """The first clause of a message, without the path that it is about."""
    said = str(error).partition(";")[0]
    for shown in (str(path), os.path.realpath(path), os.path.abspath(path)):
        said = said.replace(f"{shown}{os.sep}", "").removeprefix(f"{shown} ").removeprefix(f"{shown}: ")
    return said if len(said) <= _LONGEST_CLAUSE else f"{said[:_LONGEST_CLAUSE]}…"


def _name_of(model: FoundModel) -> str:
    """Its name; its path where the name leads to another model, which is found before it."""
    try:
        return model.name if os.path.samefile(find_model(model.name), model.path) else str(model.path)
    except (EdgeError, OSError):
        return model.name


def _kinds_in(path: Path) -> str:
    """The main types of a GGUF file whose model Edge does not read."""
    if path.is_dir():
        return ""
    try:
        sizes: Counter[str] = Counter()
        for tensor in open_gguf(path).tensors.values():
            sizes[tensor.kind] += tensor.stored_bytes
    except EdgeError:
        return ""
    return ", ".join(main_kinds(sizes))


def _bytes_of(path: Path) -> int | None:
    """Bytes of the files of weights: of a folder, or of all parts of a file."""
    try:
        if path.is_dir():
            files = [file for file in path.iterdir() if file.suffix.lower() in _WEIGHTS]
        else:
            files = [path.with_name(name) for name in part_names(path.name)]
        return sum(file.stat().st_size for file in files if file.is_file()) or None
    except OSError:
        return None
