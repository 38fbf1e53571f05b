"""The engines by name; each one's packages are imported only when it is opened."""

from collections.abc import Callable
from difflib import get_close_matches
from importlib.util import find_spec

from edge.engines.base import Engine
from export.packing import as_packed, prepare_packed
from models.checkpoint import Checkpoint
from models.errors import MisuseError
from models.precision import FP32, Float, Grouped, Precision, precision_of

PACKAGES = {"onnx": "onnxruntime", "torch": "torch", "mlx": "mlx"}
"""The package that each engine computes with."""

FLOATS = {"onnx": ("fp32",), "torch": ("fp32", "bf16", "fp16"), "mlx": ("fp32", "bf16", "fp16")}
"""The kinds of float that each engine has kernels for; all of them run packed matrices."""

Progress = Callable[[str], None]
"""Told, in a few words, what long work is at."""


def installed_engines() -> tuple[str, ...]:
    """Engines whose package is installed here."""
    return tuple(name for name, package in PACKAGES.items() if find_spec(package) is not None)


def engine_of(text: str) -> tuple[str, Precision]:
    """The engine and the precision that users spell `onnx`, `onnx:int4`, `mlx:bf16`; float32 where none is named.

    Raises:
        MisuseError: an unknown engine, with what was meant; an unknown precision; one that the engine does not run.
    """
    name, colon, spelled = text.partition(":")
    if name not in PACKAGES:
        close = get_close_matches(name, [*PACKAGES, "onnxruntime", "ort", "pytorch"], n=1)
        meant = {"onnxruntime": "onnx", "ort": "onnx", "pytorch": "torch"}.get(close[0], close[0]) if close else None
        hint = f"; did you mean '{meant}'?" if meant else ""
        raise MisuseError(f"no engine '{name}'{hint} (engines: {', '.join(PACKAGES)})")
    precision = precision_of(spelled) if colon else FP32
    if isinstance(precision, Float) and precision.kind not in FLOATS[name]:
        raise MisuseError(
            f"engine '{name}' has no kernels for {precision}; it runs {', '.join(FLOATS[name])}, int4, int8"
        )
    return name, precision


def open_engine(text: str, checkpoint: Checkpoint, threads: int | None, progress: Progress) -> Engine:
    """Builds an engine on the calling thread, where it must stay."""
    name, precision = engine_of(text)
    if checkpoint.packed:
        precision = as_packed(checkpoint, precision)
    elif isinstance(precision, Grouped):
        checkpoint = prepare_packed(checkpoint, precision.scheme, progress)
    if name == "onnx":
        from edge.engines.onnx_engine import OnnxEngine

        return OnnxEngine(checkpoint, precision, threads, progress)
    if name == "mlx":
        from edge.engines.mlx_engine import MlxEngine

        return MlxEngine(checkpoint, precision, threads)
    from edge.engines.torch_engine import TorchEngine

    return TorchEngine(checkpoint, precision, threads)
