"""One round of a measurement: times of a prompt and of decode steps, at a fixed depth."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns

import numpy as np
from jaxtyping import Float32, Int64

from edge.engines.base import Engine, Rows, row_of_logits
from edge.finite_checks import check_logits
from edge.generate import chunks
from edge.profile.energy import open_counter
from edge.session import Model
from edge.watch import Watch
from models.errors import MisuseError
from models.sites import LOGITS
from models.spec import DecoderSpec

WATCH = Watch.nothing()
"""Timed runs record no sites."""


@dataclass(frozen=True)
class Workload:
    """The work of each round.

    Attributes:
        depth: Tokens in the cache before the prompt, and before the generated tokens.
        prompt: Tokens of the prompt.
        tokens: Decode steps that are timed; the step before them is not.
    """

    depth: int
    prompt: int
    tokens: int

    def check(self, spec: DecoderSpec) -> None:
        """Raises if the workload does not fit the context."""
        if self.depth < 0 or self.prompt < 1 or self.tokens < 1:
            raise MisuseError(
                "a round needs a prompt of at least 1 token, at least 1 decode step, and a depth of at least 0"
            )
        if self.length > spec.context:
            raise MisuseError(f"a round over {self.length} tokens does not fit a context of {spec.context}")

    @property
    def length(self) -> int:
        """Capacity that the cache needs, in tokens."""
        return self.depth + max(self.prompt, self.tokens + 1)


@dataclass(frozen=True)
class Round:
    """Times of one round, in milliseconds.

    Attributes:
        prefill_ms: From the first token of the prompt fed to the logits of its last token in numpy.
        inter_token_ms: Every interval between two tokens of greedy decoding.
        decode_joules: Energy of all decode steps; None without a counter.
    """

    prefill_ms: float
    inter_token_ms: tuple[float, ...]
    decode_joules: float | None


def spread(rounds: Sequence[Round]) -> float:
    """Spread of the medians of rounds: `(largest - smallest) / median`."""
    medians = [median(one.inter_token_ms) for one in rounds]
    return (max(medians) - min(medians)) / median(medians)


def example_ids(spec: DecoderSpec, length: int) -> list[int]:
    """Fixed ids for measurements, spread over the vocabulary; latency does not depend on them."""
    return [(7 + 31 * place) % spec.vocab_size for place in range(length)]


def run_round(model: Model, ids: list[int], workload: Workload) -> Round:
    """One round over the first `workload.length` of `ids`; tokens before its depth are fed once and stay cached.

    Raises:
        EdgeError: numbers are not finite, found when the clock has stopped.
    """
    workload.check(model.spec)
    return model.with_engine(lambda engine: _run(engine, ids, workload))


def fill(engine: Engine, ids: Sequence[int], depth: int, capacity: int) -> None:
    """Fills the cache to `depth` tokens, with room for `capacity`."""
    engine.reserve(capacity)
    if engine.fed != depth:
        engine.clear()
        for chunk in chunks(tuple(ids[:depth]), engine.spec):
            engine.feed(chunk, WATCH)


def _run(engine: Engine, ids: list[int], workload: Workload) -> Round:
    depth = workload.depth
    fill(engine, ids, depth, workload.length)
    filled = engine.mark()
    started_ns = perf_counter_ns()
    logits = _feed(engine, ids[depth : depth + workload.prompt])
    prefilled_ns = perf_counter_ns()
    before, prompt = (tuple(chunks(tuple(part), engine.spec)) for part in (ids[:depth], ids[depth:][: workload.prompt]))
    check_logits(engine, (*before, *prompt), (), logits)
    engine.restore(filled)
    counter = open_counter()
    if counter:
        counter.begin()
    last = row_of_logits(engine.spec)
    fed, chosen_ns = _decode(engine, ids[depth], workload.tokens + 1, last)
    joules = counter.end() if counter else None
    check_logits(engine, (*before, *fed), (), last[LOGITS])
    engine.restore(filled)
    between = np.diff(np.array(chosen_ns, np.int64)) / 1e6
    return Round((prefilled_ns - started_ns) / 1e6, tuple(between.tolist()), joules)


def _decode(engine: Engine, token: int, tokens: int, last: Rows) -> tuple[list[Int64[np.ndarray, " one"]], list[int]]:
    """Greedy decoding of `tokens` tokens after `token`: what was fed, and when each was known, nanoseconds."""
    fed: list[Int64[np.ndarray, " one"]] = []
    chosen_ns: list[int] = []
    for _ in range(tokens):
        fed.append(np.array([token], np.int64))
        step = engine.feed(fed[-1], WATCH, last)
        token = int(step.logits[-1].argmax())
        chosen_ns.append(perf_counter_ns())
    return fed, chosen_ns


def _feed(engine: Engine, ids: Sequence[int]) -> Float32[np.ndarray, "row vocab"]:
    """Feeds what is at least one token; the logits after the last one."""
    for chunk in chunks(tuple(ids), engine.spec):
        step = engine.feed(chunk, WATCH)
    return step.logits
