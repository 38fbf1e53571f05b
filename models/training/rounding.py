"""Differences of a checkpoint in lower precisions from torch in float32, for each engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import edge
from export.logit_difference import LogitDifference, Logits, compare_logits
from models.training.figures import open_documents, token_stream

ENGINES = (
    "torch:bf16",
    "mlx:bf16",
    "torch:fp16",
    "mlx:fp16",
    "torch:int8",
    "onnx:int8",
    "mlx:int8",
    "torch:int4",
    "onnx:int4",
    "onnx:int4-acc0",
    "mlx:int4",
    "torch:int4-g128-sym",
    "onnx:int4-g128-sym",
    "mlx:int4-g128-sym",
)
"""From many bits to few. Engines of one precision differ only in their arithmetic."""

_WINDOWS = 8

REFERENCE = "torch"


@dataclass(frozen=True)
class Rounded:
    """One engine, and its difference from torch in float32."""

    engine: str
    parity: LogitDifference


def rounding(folder: Path, text: Path, engines: Sequence[str] = ENGINES) -> list[Rounded]:
    """Runs the first windows of a text on every engine; a window has the context's length and no earlier context."""
    with edge.load(folder, REFERENCE) as model:
        assert model.tokenizer is not None
        ids, width = token_stream(model.tokenizer, open_documents(text)).ids, model.spec.context
        windows = [list(map(int, ids[first : first + width])) for first in range(0, _WINDOWS * width, width)]
        windows = [window for window in windows if window]
        wanted = [model.logits(window) for window in windows]
    return [Rounded(engine, compare_logits(_logits(folder, engine, windows), wanted)) for engine in engines]


def _logits(folder: Path, engine: str, windows: Sequence[list[int]]) -> list[Logits]:
    with edge.load(folder, engine) as model:
        return [np.asarray(model.logits(window)) for window in windows]
