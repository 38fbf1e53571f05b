"""The engines by name; each one's packages are imported only when it is opened."""

from collections.abc import Callable
from difflib import get_close_matches
from importlib.util import find_spec

from edge.engines.base import Engine
from models.checkpoint import Checkpoint
from models.errors import MisuseError

PACKAGES = {"onnx": "onnxruntime", "torch": "torch", "mlx": "mlx"}
"""The package that each engine computes with."""

Progress = Callable[[str], None]
"""Told, in a few words, what long work is at."""


def installed_engines() -> tuple[str, ...]:
    """Engines whose package is installed here."""
    return tuple(name for name, package in PACKAGES.items() if find_spec(package) is not None)


def check_engine_name(name: str) -> None:
    """Refuses an unknown engine; the message suggests what was meant."""
    if name not in PACKAGES:
        close = get_close_matches(name, [*PACKAGES, "onnxruntime", "ort", "pytorch"], n=1)
        meant = {"onnxruntime": "onnx", "ort": "onnx", "pytorch": "torch"}.get(close[0], close[0]) if close else None
        hint = f"; did you mean '{meant}'?" if meant else ""
        raise MisuseError(f"no engine '{name}'{hint} (engines: {', '.join(PACKAGES)})")


def open_engine(name: str, checkpoint: Checkpoint, threads: int | None, progress: Progress) -> Engine:
    """Builds an engine on the calling thread, where it must stay."""
    check_engine_name(name)
    if name == "onnx":
        from edge.engines.onnx_engine import OnnxEngine

        return OnnxEngine(checkpoint, threads, progress)
    if name == "mlx":
        from edge.engines.mlx_engine import MlxEngine

        return MlxEngine(checkpoint, threads)
    from edge.engines.torch_engine import TorchEngine

    return TorchEngine(checkpoint, threads)
