"""One model on one engine, in a process of its own: what is measured side by side and must not share memory."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.apart import Apart, Progress
from edge.session import Model, find_model, load


@dataclass(frozen=True)
class Variant:
    """What is run.

    Attributes:
        folder: Of the checkpoint.
        engine: Engine, provider and precision, as users write them.
        threads: Threads to compute with; the engine's own choice where None.
    """

    folder: Path
    engine: str
    threads: int | None = None

    def __str__(self) -> str:
        return f"{self.folder.name} on {self.engine}"


def variant_of(model: str, engine: str, threads: int | None = None) -> Variant:
    """The variant that users name so: a folder, a zoo name or a hub id, and an engine."""
    return Variant(find_model(model), engine, threads)


def open_variant(variant: Variant, progress: Progress) -> Apart[Model]:
    """Loads it in a fresh process; ask it with functions that take a `Model` first.

    Raises:
        EdgeError: it cannot be loaded, or its process was ended; the message says by what.
    """
    told: Callable[[str], None] = lambda word: progress(f"{variant}: {word}")  # noqa: E731
    return Apart(str(variant), _load, told, {}, variant)


def _load(tell: Progress, variant: Variant) -> Model:
    return load(variant.folder, variant.engine, threads=variant.threads, progress=tell)
