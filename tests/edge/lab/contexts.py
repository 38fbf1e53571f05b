"""Subjects for tests of the lab: the bundled models, and tiny decoders of every kind with weights that tests choose."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

import edge
from edge.lab.context import LabContext
from edge.session import Model
from models.tokenizer import Tokenizer, open_tokenizer
from models.zoo import zoo_folder
from tests.tiny import TINY_SPECS, FakeCheckpoint, tiny_weights


@dataclass(frozen=True)
class Folded(Tokenizer):
    """The zoo's tokenizer with its ids folded into a small vocabulary."""

    vocab: int

    def encode(self, text: str) -> list[int]:
        return [id % self.vocab for id in super().encode(text)]

    def encode_answer(self, prompt: str, answer: str) -> tuple[list[int], list[int]]:
        given, wanted = super().encode_answer(prompt, answer)
        return [id % self.vocab for id in given], [id % self.vocab for id in wanted]


def folded(vocab: int) -> Folded:
    folder = zoo_folder("fable-relu")
    assert folder is not None
    own = open_tokenizer(folder)
    assert own is not None
    return Folded(**{field.name: getattr(own, field.name) for field in fields(own)}, vocab=vocab)


@contextmanager
def tiny_lab(
    name: str,
    changed: Mapping[str, np.ndarray] | None = None,
    *,
    tokens: int = 120,
    engine: str = "torch",
    kind: type[LabContext] = LabContext,
) -> Iterator[LabContext]:
    """One of `TINY_SPECS` with random weights but for those that are given, on real text in folded tokens."""
    spec = TINY_SPECS[name]
    checkpoint = FakeCheckpoint(spec, tiny_weights(spec, 0) | dict(changed or {}), name=name)
    with Model(checkpoint, engine, 1, lambda _: None) as model:
        model.tokenizer = folded(spec.vocab_size)
        yield kind(model, tokens=tokens)


@contextmanager
def zoo_lab(name: str = "fable-relu", *, tokens: int = 700, engine: str = "onnx") -> Iterator[LabContext]:
    """A bundled model on a part of the built-in text."""
    with edge.load(name, engine, threads=1) as model:
        yield LabContext(model, tokens=tokens)


def counting(real: Callable[..., Any], fed: list[int]) -> Callable[..., Any]:
    """The same, and how many ids it is given each time is added to `fed`: what an experiment costs."""

    def feed(ids: Any, *rest: Any, **named: Any) -> Any:
        fed.append(len(ids))
        return real(ids, *rest, **named)

    return feed
