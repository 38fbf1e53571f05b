"""Opens engines. The packages of an engine are imported only when it is opened."""

from dataclasses import replace
from importlib.util import find_spec

from edge.engines.base import Engine
from edge.engines.choice import BESIDE, PACKAGES, EngineChoice
from export.bundle import prepare
from export.converted import convert
from export.layout import layout_of
from export.quantizing import as_quantized, prepare_quantized, scheme_to_quantize
from models.checkpoint import Checkpoint
from models.errors import MissingPackageError, MisuseError
from models.progress import Progress
from models.sources.gguf.source import Gguf


def installed_engines() -> tuple[str, ...]:
    """Engines whose package is installed."""
    return tuple(name for name, package in PACKAGES.items() if find_spec(package) is not None)


def check_beside(choice: EngineChoice, checkpoint: Checkpoint) -> None:
    """Checks that a runtime beside the engines reads the checkpoint, and is installed.

    Raises:
        MisuseError, MissingPackageError: not so.
    """
    if choice.has_sites:
        return
    if not isinstance(checkpoint.source, Gguf):
        raise MisuseError(
            f"{choice.name} runs GGUF files, and {checkpoint.name} is none; give a .gguf file, or use an engine: "
            f"{', '.join(PACKAGES)}"
        )
    if find_spec(BESIDE[choice.name]) is None:
        raise MissingPackageError(f"engine '{choice.name}'", "llama-cpp-python", "llama")


def as_computed(choice: EngineChoice, checkpoint: Checkpoint, progress: Progress) -> tuple[EngineChoice, Checkpoint]:
    """The choice and the checkpoint in the chosen precision; quantizes the weights if they are not in the cache."""
    check_beside(choice, checkpoint)
    if not choice.has_sites:
        return choice, checkpoint
    if checkpoint.quantized:
        return replace(choice, precision=as_quantized(checkpoint, choice.precision)), checkpoint
    if scheme := scheme_to_quantize(choice.precision):
        return choice, prepare_quantized(checkpoint, scheme, progress)
    return choice, checkpoint


def prepare_files(choice: EngineChoice, checkpoint: Checkpoint, progress: Progress) -> None:
    """Writes the files that an engine reads and the cache lacks: quantized or converted weights, graphs."""
    choice, checkpoint = as_computed(choice, checkpoint, progress)
    if choice.name == "onnx":
        layout = layout_of(checkpoint, choice.precision)
        prepare(checkpoint, progress, layout)
        convert(checkpoint, layout, progress)


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
        case "llama.cpp":
            from edge.engines.llama_cpp_engine import LlamaCppEngine

            return LlamaCppEngine(checkpoint, choice, threads)
    from edge.engines.torch_engine import TorchEngine

    return TorchEngine(checkpoint, choice, threads)
