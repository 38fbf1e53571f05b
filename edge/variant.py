"""One model on one engine in its own process, so that measured models do not share memory."""

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
    """A model on an engine.

    Attributes:
        path: Folder or file of the checkpoint.
        engine: Engine, provider and precision, as users write them.
        threads: Threads to compute with; the engine's default if None.
    """

    path: Path
    engine: str
    threads: int | None = None

    def __str__(self) -> str:
        return f"{self.path.name} on {self.engine}"


def variant_of(model: str, engine: str, threads: int | None = None) -> Variant:
    """The variant for a model as users write it (folder, bundled model or hub id) and an engine."""
    return Variant(find_model(model), engine, threads)


def open_variant(variant: Variant, progress: Progress) -> WorkerProcess[Model]:
    """Loads the variant in a new process. Call functions there whose first argument is a `Model`.

    Raises:
        EdgeError: it cannot be loaded, or its process ended; the message says why.
    """
    return WorkerProcess(str(variant), _load, _named_progress(variant, progress), {}, variant)


def prepare_variant(variant: Variant, progress: Progress) -> None:
    """Quantizes weights and exports graphs that are not in the cache yet, in a separate process."""
    WorkerProcess(str(variant), _prepare, _named_progress(variant, progress), {}, variant).close()


def _named_progress(variant: Variant, progress: Progress) -> Progress:
    return lambda message: progress(f"{variant}: {message}")


def _prepare(progress: Progress, variant: Variant) -> None:
    prepare_files(engine_of(variant.engine), open_checkpoint(variant.path), progress)


def _load(progress: Progress, variant: Variant) -> Model:
    return load(variant.path, variant.engine, threads=variant.threads, progress=progress)
