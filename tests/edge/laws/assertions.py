"""Laws as assertions about any model: tiny ones of every family, the bundled ones, a real checkpoint."""

from collections.abc import Sequence

import numpy as np

from edge.laws.case import Case
from edge.laws.result import LawResult
from edge.laws.run_laws import law_6
from edge.laws.trace_laws import Question, law_1, law_4
from edge.readout import Readout
from edge.session import Model
from edge.trace import Trace
from models.checkpoint import Checkpoint
from tests.tiny import tiny_checkpoint

CLOSE = 5e-5
"""Largest difference between two float32 engines, relative to the largest value of a site."""

QUESTIONS: Sequence[Question] = ((17, 4), (0, 69), (33, None))
"""A target, and what its logit is compared with; None is the mean of all logits."""


ENGINES = ("torch", "onnx", "mlx")
PROMPT = [3, 1, 41, 59, 26, 5, 35, 8, 9, 7]


def tiny_model(name: str, engine: str) -> Model:
    """One of `TINY_SPECS` with random weights, on one engine."""
    return Model(tiny_checkpoint(name), engine, None, lambda _: None)


def off_by(got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    return float(np.abs(got - want).max() / max(1e-6, float(np.abs(want).max())))


def check(result: LawResult, engine: str) -> None:
    """The law passes."""
    said = f"{engine} breaks law {result.number}, {result.statement}: off by {result.worst:.2g} at {result.where}"
    assert result.passed and result.worst <= result.tolerance, said


def check_law_1(trace: Trace, checkpoint: Checkpoint, close: float = CLOSE) -> None:
    check(law_1(trace, checkpoint, close), trace.engine)


def check_law_4(trace: Trace, readout: Readout, close: float = CLOSE) -> None:
    check(law_4(trace, readout, close, QUESTIONS), trace.engine)


def check_law_6(model: Model, ids: list[int]) -> None:
    check(law_6(Case(model, ids)), model.engine)
