"""Estimates the peak memory of a run before it starts: empty process, weights, cache and working memory.

    torch   weights in the precision of the engine; quantized weights are dequantized
    mlx     weights in the precision of the engine; quantized weights stay quantized; the largest weight counts twice
            if it is converted to another float type, since MLX keeps the memory
    onnx    weights mapped from disk; a copy if they are converted to another float type; and a copy in the layout that
            ONNX Runtime needs for its matrix products
    llama.cpp
            weights mapped from the file, and a copy of those that it stores in another order; keys in float16

The factors below were measured on models of 7 million and 135 million parameters.
"""

from functools import cache
from importlib import import_module
from math import prod

from edge.engines.choice import BESIDE, EngineChoice, engine_of
from edge.generate import passes
from edge.profile.memory import kv_bytes, process_peak_bytes
from edge.profile.weight_memory import weight_bytes, weights_memory_bytes
from edge.worker_process import WorkerProcess
from models.checkpoint import Checkpoint
from models.parameters import parameter_shapes
from models.precision import Float
from models.progress import Progress

_WORK_BYTES = {"torch": 40e6, "onnx": 25e6, "mlx": 25e6, "llama.cpp": 60e6}
"""Memory of a runtime besides weights and cache: pools, threads, activations of a prompt."""

_SCORES = {"torch": 0, "onnx": 1, "mlx": 2, "llama.cpp": 0}
"""Copies of the attention scores of all heads of a layer that a runtime holds at once."""

_KEY_BYTES = 2
"""Bytes of one number of a key or a value in llama.cpp."""

_REPACKED = 1.5
"""Size of a quantized matrix in ONNX Runtime's layout, which adds group sums and padding, per stored byte."""


def _import(progress: Progress, engine: str) -> None:
    import_module(f"edge.engines.{BESIDE.get(engine, engine)}_engine")


def _peak(_: None) -> int:
    return process_peak_bytes() or 0


@cache
def empty_bytes(engine: str) -> int:
    """Measured memory of a new process that imported an engine and loaded no model."""
    with WorkerProcess(f"an empty {engine}", _import, lambda _: None, {}, engine) as process:
        return process.call(_peak)


def _onnx_bytes(checkpoint: Checkpoint, choice: EngineChoice, weights: float) -> float:
    if not isinstance(choice.precision, Float) or checkpoint.quantized:
        return _REPACKED * weights
    return weights + (0 if checkpoint.stored_bytes == weights else checkpoint.stored_bytes)


def _mlx_bytes(checkpoint: Checkpoint, choice: EngineChoice, weights: float) -> float:
    if choice.float_kind == "fp32":
        return 0.0
    return float(choice.float_bytes * max(map(prod, parameter_shapes(checkpoint.spec).values())))


def _llama_cpp_bytes(checkpoint: Checkpoint, choice: EngineChoice, weights: float) -> float:
    return weights if checkpoint.quantized else 0.0


def _no_bytes(checkpoint: Checkpoint, choice: EngineChoice, weights: float) -> float:
    return 0.0


_BESIDE_WEIGHTS = {"onnx": _onnx_bytes, "mlx": _mlx_bytes, "torch": _no_bytes, "llama.cpp": _llama_cpp_bytes}
"""What a runtime holds besides one copy of the weights."""


def estimate_peak_bytes(checkpoint: Checkpoint, engine: str, tokens: int) -> int:
    """Estimated peak memory of a run with `tokens` tokens in its cache, in bytes.

    Raises:
        EdgeError: the engine's package is not installed.
    """
    choice = engine_of(engine)
    held = weight_bytes(engine, checkpoint)
    weights = weights_memory_bytes(checkpoint.spec, held)
    size = choice.float_bytes if choice.has_sites else _KEY_BYTES
    cache_bytes = kv_bytes(checkpoint.spec, tokens, size)
    most_pairs = max((len(fed) * fed.stop for fed in passes(checkpoint.spec, tokens)), default=0)
    scores_bytes = _SCORES[choice.name] * checkpoint.spec.n_heads * most_pairs * size
    beside = _BESIDE_WEIGHTS[choice.name](checkpoint, choice, weights)
    return round(empty_bytes(choice.name) + weights + cache_bytes + scores_bytes + beside + _WORK_BYTES[choice.name])
