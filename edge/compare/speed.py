"""How fast variants are and what memory they hold, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from edge.compare.variants import RemoteModel
from edge.profile.memory import Memory, measure_memory
from edge.profile.rounds import Round, Workload, example_ids, run_round, spread
from edge.session import Model
from models.spec import DecoderSpec

PROMPT, TOKENS = 128, 32
"""Tokens of a round's prompt, and those generated in it, where the context allows as many."""


@dataclass(frozen=True)
class Speed:
    """Every time that was taken of one variant, warm-up left out."""

    workload: Workload
    rounds: tuple[Round, ...]

    @property
    def prefill_ms(self) -> float:
        """Median of the prefills, in milliseconds."""
        return median(one.prefill_ms for one in self.rounds)

    @property
    def decode_ms(self) -> float:
        """Median of all intervals between two tokens, in milliseconds."""
        return median(self._intervals_ms)

    @property
    def decode_p90_ms(self) -> float:
        """What nine of ten intervals stay below, in milliseconds."""
        return float(np.quantile(self._intervals_ms, 0.9))

    @property
    def spread(self) -> float:
        """How far apart the medians of rounds are, as `edge profile` has it: `(largest - smallest) / median`."""
        return spread(self.rounds)

    @property
    def _intervals_ms(self) -> list[float]:
        return [interval for one in self.rounds for interval in one.inter_token_ms]


def default_workload(specs: Sequence[DecoderSpec]) -> Workload:
    """From an empty cache, what fits the smallest context."""
    context = min(spec.context for spec in specs)
    return Workload(depth=0, prompt=min(PROMPT, context), tokens=min(TOKENS, context - 1))


def measure_speed(remotes: Sequence[RemoteModel], workload: Workload, rounds: int) -> list[Speed]:
    """Rounds in turn, one of each variant, so that what slows the machine down slows all; the first turn warms up."""
    turns = [[one.call(_round, workload) for one in remotes] for _ in range(rounds + 1)]
    return [Speed(workload, tuple(own)) for own in zip(*turns[1:], strict=True)]


def _round(model: Model, workload: Workload) -> Round:
    return run_round(model, example_ids(model.spec, workload.length), workload)


def memory_of(remote: RemoteModel, workload: Workload) -> Memory:
    """What the variant's process has held so far; asked before anything is watched there."""
    return remote.call(measure_memory, workload.length)
