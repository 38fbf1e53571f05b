"""One model on one engine, in a process of its own: what is measured side by side and must not share memory."""

from dataclasses import dataclass
from pathlib import Path

from edge.engines.choice import engine_of
from edge.engines.registry import prepare_files
from edge.session import Model, load
from edge.worker_process import WorkerProcess
from models.checkpoint import open_checkpoint
from models.find_model import find_model
from models.progress import Progress


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


def open_variant(variant: Variant, progress: Progress) -> WorkerProcess[Model]:
    """Loads it in a fresh process; ask it with functions that take a `Model` first.

    Raises:
        EdgeError: it cannot be loaded, or its process was ended; the message says by what.
    """
    return WorkerProcess(str(variant), _load, _telling(variant, progress), {}, variant)


def prepare_variant(variant: Variant, progress: Progress) -> None:
    """Packs weights and exports graphs that are not there yet, in another process than the one that is measured."""
    WorkerProcess(str(variant), _prepare, _telling(variant, progress), {}, variant).close()


def _telling(variant: Variant, progress: Progress) -> Progress:
    return lambda word: progress(f"{variant}: {word}")


def _prepare(tell: Progress, variant: Variant) -> None:
    prepare_files(engine_of(variant.engine), open_checkpoint(variant.folder), tell)


def _load(tell: Progress, variant: Variant) -> Model:
    return load(variant.folder, variant.engine, threads=variant.threads, progress=tell)
