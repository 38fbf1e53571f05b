"""The memory that a run will take, foreseen before it: what the process needs empty, weights, cache, and room to work.

    torch   weights as they are computed with; quantized ones dequantized
    mlx     weights as they are computed with; quantized ones quantized; the largest one twice, where it is turned into
            another kind of float: MLX keeps the memory
    onnx    weights mapped from disk, a second time where they are computed with in another kind of float, and once
            more, since ONNX Runtime lays matrices out anew for its products

The factors below were measured on a model of 7 million parameters and one of 135 million.
"""

from functools import cache
from importlib import import_module
from math import prod

from edge.engines.choice import EngineChoice, engine_of
from edge.generate import passes
from edge.profile.memory import kv_bytes, process_peak_bytes
from edge.profile.weight_memory import weight_bytes, weights_memory_bytes
from edge.worker_process import WorkerProcess
from models.checkpoint import Checkpoint
from models.parameters import parameter_shapes
from models.precision import Float
from models.progress import Progress

_WORK_BYTES = {"torch": 40e6, "onnx": 25e6, "mlx": 25e6}
"""What a runtime keeps beside weights and cache: pools, threads, what a prompt's activations need."""

_SCORES = {"torch": 0, "onnx": 1, "mlx": 2}
"""How often a runtime holds the scores of all heads of a layer at once."""

_REPACKED = 1.5
"""Bytes of ONNX Runtime's own layout of a quantized matrix: it adds sums of groups, and fills up."""


def _import(tell: Progress, engine: str) -> None:
    import_module(f"edge.engines.{engine}_engine")


def _peak(_: None) -> int:
    return process_peak_bytes() or 0


@cache
def empty_bytes(engine: str) -> int:
    """What a fresh process holds that has imported an engine and loaded nothing: measured."""
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


def _no_bytes(checkpoint: Checkpoint, choice: EngineChoice, weights: float) -> float:
    return 0.0


def estimate_peak_bytes(checkpoint: Checkpoint, engine: str, tokens: int) -> int:
    """The process peak of a run whose cache holds `tokens` tokens.

    Raises:
        EdgeError: the engine's package is not installed.
    """
    choice = engine_of(engine)
    held = weight_bytes(engine, checkpoint)
    weights = weights_memory_bytes(checkpoint.spec, held)
    size = choice.float_bytes
    cache_bytes = kv_bytes(checkpoint.spec, tokens, size)
    most_pairs = max((len(fed) * fed.stop for fed in passes(checkpoint.spec, tokens)), default=0)
    scores_bytes = _SCORES[choice.name] * checkpoint.spec.n_heads * most_pairs * size
    beside = {"onnx": _onnx_bytes, "mlx": _mlx_bytes, "torch": _no_bytes}[choice.name](checkpoint, choice, weights)
    return round(empty_bytes(choice.name) + weights + cache_bytes + scores_bytes + beside + _WORK_BYTES[choice.name])
