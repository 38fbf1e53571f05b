"""Models and traces on this machine that can be opened, without network access."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.doctor import remedy
from edge.engines.choice import PACKAGES, floats_of
from edge.listed_models import ListedModel, Unread, describe, listed_models
from edge.picture.units import show_bytes, show_count
from edge.store import read_store
from models.checkpoint import open_checkpoint
from models.errors import EdgeError
from models.find_model import find_model
from models.tokenizer import open_tokenizer

RECENT = "recent folders and files"
"""The source of models that were opened by their path."""

QUANTIZED = ("int8", "int4")
"""Quantized precisions that are offered; others are available on the command line."""


@dataclass(frozen=True)
class AvailableItem:
    """A model or trace that can be opened.

    Attributes:
        name: The user's name for it: a bundled model, a hub id, a name of Ollama, a path, the file of a trace.
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
    """All models and traces that can be opened.

    Attributes:
        models: Models by their source, such as `Ollama`.
    """

    models: Mapping[str, Sequence[AvailableItem]]
    traces: Sequence[AvailableItem]


def find_available(models: tuple[str, ...], traces: tuple[str, ...]) -> AvailableModels:
    """Models on this machine, and recent models and traces in other places."""
    by_name: dict[str, ListedModel] = {}
    for model in listed_models():
        by_name.setdefault(model.name, model)
    for name in models:
        if name not in by_name and os.path.exists(name):
            by_name[name] = describe(name, RECENT, Path(name))
    by_source: dict[str, list[AvailableItem]] = {}
    for model in by_name.values():
        by_source.setdefault(model.source, []).append(_item(model))
    return AvailableModels(by_source, [_describe_trace(Path(name)) for name in traces if os.path.isfile(name)])


def _item(model: ListedModel) -> AvailableItem:
    held = model.contents
    if isinstance(held, Unread):
        return AvailableItem(model.name, held.why, opens=False)
    size = show_bytes(held.stored_bytes) + (f" in {held.precision}" if held.stored else "")
    layers = f"{held.n_layers} layer{'' if held.n_layers == 1 else 's'}"
    description = f"{show_count(held.parameters)} parameters · {layers} · {size}"
    return AvailableItem(model.name, description, stored=held.stored)


def _describe_trace(file: Path) -> AvailableItem:
    try:
        record, _ = read_store(file)
    except EdgeError as error:
        return AvailableItem(str(file), str(error), opens=False)
    tokens = len(record.get("tokens", ()))
    return AvailableItem(str(file), f"{record.get('model')} on {record.get('engine')} · {tokens} tokens")


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
    checkpoints = [open_checkpoint(find_model(one)) for one in (model, other)]
    spec, another = (checkpoint.spec for checkpoint in checkpoints)
    if (spec.vocab_size, spec.n_layers, spec.n_heads) != (another.vocab_size, another.n_layers, another.n_heads):
        return False
    reader, second = (open_tokenizer(checkpoint.source.texts()) for checkpoint in checkpoints)
    if reader is None or second is None:
        return reader is second
    return reader.agrees(second)
