"""Opens engines. The packages of an engine are imported only when it is opened."""

from dataclasses import replace
from importlib.util import find_spec

from edge.engines.base import Engine
from edge.engines.choice import PACKAGES, EngineChoice
from export.bundle import prepare
from export.layout import layout_of
from export.quantizing import as_quantized, prepare_quantized
from models.checkpoint import Checkpoint
from models.precision import Grouped
from models.progress import Progress


def installed_engines() -> tuple[str, ...]:
    """Engines whose package is installed."""
    return tuple(name for name, package in PACKAGES.items() if find_spec(package) is not None)


def as_computed(choice: EngineChoice, checkpoint: Checkpoint, progress: Progress) -> tuple[EngineChoice, Checkpoint]:
    """The choice and the checkpoint in the chosen precision; quantizes the weights if they are not in the cache."""
    if checkpoint.quantized:
        return replace(choice, precision=as_quantized(checkpoint, choice.precision)), checkpoint
    if isinstance(choice.precision, Grouped):
        return choice, prepare_quantized(checkpoint, choice.precision.scheme, progress)
    return choice, checkpoint


def prepare_files(choice: EngineChoice, checkpoint: Checkpoint, progress: Progress) -> None:
    """Writes the files that an engine reads and the cache lacks: quantized weights, graphs."""
    choice, checkpoint = as_computed(choice, checkpoint, progress)
    if choice.name == "onnx":
        prepare(checkpoint, progress, layout_of(checkpoint, choice.precision))


def open_engine(choice: EngineChoice, checkpoint: Checkpoint, threads: int | None, progress: Progress) -> Engine:
    """Creates an engine on the calling thread, where it must stay."""
    choice, checkpoint = as_computed(choice, checkpoint, progress)
    match choice.name:
        case "onnx":
            from edge.engines.onnx_engine import OnnxEngine

            return OnnxEngine(checkpoint, choice, threads, progress)
        case "mlx":
            from edge.engines.mlx_engine import MlxEngine

            return MlxEngine(checkpoint, choice, threads)
    from edge.engines.torch_engine import TorchEngine

    return TorchEngine(checkpoint, choice, threads)
