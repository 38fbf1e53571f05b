"""Variants in this process, for tests that need no other."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from edge.compare.measure import compare
from edge.compare.result import Comparison
from edge.compare.tokenized_text import TokenizedText
from edge.compare.variants import OpenVariant
from edge.session import Model
from models.checkpoint import Checkpoint
from models.spec import DecoderSpec
from tests.tiny import TINY_SPECS, FakeCheckpoint, tiny_weights

IDS = (3, 1, 41, 59, 26, 5, 35, 8, 9, 7, 9, 3, 23, 8, 46, 2, 64, 33, 8, 32, 7, 9, 50, 2)

DEEP: DecoderSpec = replace(
    TINY_SPECS["neox-full-rotary-relu"], layers=TINY_SPECS["neox-full-rotary-relu"].layers[:1] * 5
)


class InProcess:
    """Answers in this process."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        return function(self.model, *arguments, **keywords)


Wanted = tuple[Checkpoint, str]
"""A checkpoint and the engine that runs it."""


@contextmanager
def members(wanted: Sequence[Wanted]) -> Iterator[list[OpenVariant]]:
    with ExitStack() as stack:
        models = [stack.enter_context(Model(checkpoint, engine, None, lambda _: None)) for checkpoint, engine in wanted]
        yield [OpenVariant(model.engine, model.spec, InProcess(model)) for model in models]


def compared(
    wanted: Sequence[Wanted], passage: TokenizedText | None = None, tolerance: float | None = None
) -> Comparison:
    """The whole comparison, timed once."""
    with members(wanted) as opened:
        return compare(
            opened, passage or TokenizedText("ids", IDS), rounds=1, tolerance=tolerance, progress=lambda _: None
        )


def checkpoint_of(spec: DecoderSpec, perturbed: str | None = None, by: float = 0.5) -> FakeCheckpoint:
    """A tiny checkpoint; one weight of the parameter `perturbed` is off by `by`."""
    weights = tiny_weights(spec, seed=0)
    if perturbed is not None:
        weights[perturbed] = weights[perturbed].copy()
        weights[perturbed][(0,) * weights[perturbed].ndim] += np.float32(by)
    return FakeCheckpoint(spec, weights, name="healthy" if perturbed is None else "perturbed")
