"""Models and traces on this machine that can be opened, without network access."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.doctor import remedy
from edge.engines.choice import PACKAGES, floats_of
from edge.picture.units import show_bytes, show_count
from edge.store import read_store
from export.quantizing import stored_precision
from models.checkpoint import open_checkpoint
from models.errors import EdgeError
from models.find_model import find_model
from models.hub import cached, is_hub_id
from models.parameters import parameter_count
from models.tokenizer import open_tokenizer
from models.zoo import zoo_folder, zoo_names

QUANTIZED = ("int8", "int4")
"""Quantized precisions that are offered; others are available on the command line."""


@dataclass(frozen=True)
class AvailableItem:
    """A model or trace that can be opened.

    Attributes:
        name: The user's name for it: a bundled model, a hub id, a folder, the file of a trace.
        description: A short description, or why it cannot be opened.
        opens: Whether it can be opened.
        stored: The precision of stored quantized weights, the only one they run in; empty for all others.
    """

    name: str
    description: str
    opens: bool = True
    stored: str = ""


@dataclass(frozen=True)
class AvailableModels:
    """All models and traces that can be opened, by source."""

    zoo: tuple[AvailableItem, ...]
    pulled: tuple[AvailableItem, ...]
    folders: tuple[AvailableItem, ...]
    traces: tuple[AvailableItem, ...]


def find_available(models: tuple[str, ...], traces: tuple[str, ...]) -> AvailableModels:
    """Bundled models, the hub's cache, and recent models and traces in other places."""
    pulled = tuple(describe_model(id, folder) for id, folder in _in_cache())
    known = {*zoo_names(), *(one.name for one in pulled)}
    folders = [Path(name) for name in models if name not in known and not is_hub_id(name)]
    files = [Path(name) for name in traces]
    return AvailableModels(
        zoo=tuple(describe_model(name, folder) for name in zoo_names() if (folder := zoo_folder(name))),
        pulled=pulled,
        folders=tuple(describe_model(str(folder), folder) for folder in folders if folder.is_dir()),
        traces=tuple(_describe_trace(file) for file in files if file.is_file()),
    )


def describe_model(name: str, folder: Path) -> AvailableItem:
    """Describes a checkpoint; reads only its headers."""
    try:
        checkpoint = open_checkpoint(folder)
    except EdgeError as error:
        return AvailableItem(name, str(error), opens=False)
    spec = checkpoint.spec
    parameters = f"{show_count(parameter_count(spec))} parameters"
    stored = str(stored_precision(checkpoint) or "")
    size = show_bytes(checkpoint.stored_bytes) + (f" in {stored}" if stored else "")
    return AvailableItem(name, f"{parameters} · {spec.n_layers} layers · {size}", stored=stored)


def _describe_trace(file: Path) -> AvailableItem:
    try:
        record, _ = read_store(file)
    except EdgeError as error:
        return AvailableItem(str(file), str(error), opens=False)
    tokens = len(record.get("tokens", ()))
    return AvailableItem(str(file), f"{record.get('model')} on {record.get('engine')} · {tokens} tokens")


def _in_cache() -> Iterator[tuple[str, Path]]:
    """Complete checkpoints in the hub's cache, by id."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except (CacheNotFound, ValueError, OSError):
        return
    for id in sorted(one.repo_id for one in repositories if one.repo_type == "model"):
        folder = cached(id)
        if folder is not None:
            yield id, folder


def engine_choices(installed: tuple[str, ...], stored: str = "") -> list[tuple[str, str]]:
    """Every engine in every precision offered, and how to install it if it is missing.

    Args:
        stored: The precision of stored quantized weights, the only one offered.
    """
    choices: list[tuple[str, str]] = []
    for name in PACKAGES:
        missing = "" if name in installed else remedy(name)
        for precision in (stored,) if stored else (*floats_of(name, "cpu"), *QUANTIZED):
            choices.append((name if precision == "fp32" else f"{name}:{precision}", missing))
    return choices


def is_comparable(model: str, other: str) -> bool:
    """Whether two models have the same vocabulary and shape, so that their runs can be compared."""
    folders = find_model(model), find_model(other)
    spec, another = (open_checkpoint(folder).spec for folder in folders)
    if (spec.vocab_size, spec.n_layers, spec.n_heads) != (another.vocab_size, another.n_layers, another.n_heads):
        return False
    reader, second = (open_tokenizer(folder) for folder in folders)
    if reader is None or second is None:
        return reader is second
    return bool(reader.rust.get_vocab() == second.rust.get_vocab())
