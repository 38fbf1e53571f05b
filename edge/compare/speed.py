"""Speed and memory of variants, measured in interleaved rounds."""

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
"""Prompt tokens and generated tokens of a round, if the context allows."""


@dataclass(frozen=True)
class Speed:
    """All times of one variant, without warm-up."""

    workload: Workload
    rounds: tuple[Round, ...]

    @property
    def prefill_ms(self) -> float:
        """Median prefill latency, in milliseconds."""
        return median(one.prefill_ms for one in self.rounds)

    @property
    def decode_ms(self) -> float:
        """Median inter-token latency, in milliseconds."""
        return median(self._intervals_ms)

    @property
    def decode_p90_ms(self) -> float:
        """90th percentile of inter-token latency, in milliseconds."""
        return float(np.quantile(self._intervals_ms, 0.9))

    @property
    def spread(self) -> float:
        """Spread of the medians of rounds, as in `edge profile`: `(largest - smallest) / median`."""
        return spread(self.rounds)

    @property
    def _intervals_ms(self) -> list[float]:
        return [interval for one in self.rounds for interval in one.inter_token_ms]


def default_workload(specs: Sequence[DecoderSpec]) -> Workload:
    """A workload from an empty cache that fits the smallest context."""
    context = min(spec.context for spec in specs)
    return Workload(depth=0, prompt=min(PROMPT, context), tokens=min(TOKENS, context - 1))


def measure_speed(remotes: Sequence[RemoteModel], workload: Workload, rounds: int) -> list[Speed]:
    """Interleaved rounds, so that a slow machine affects all variants equally. The first round is a warm-up."""
    by_round = [[one.call(_round, workload) for one in remotes] for _ in range(rounds + 1)]
    return [Speed(workload, tuple(own)) for own in zip(*by_round[1:], strict=True)]


def _round(model: Model, workload: Workload) -> Round:
    return run_round(model, example_ids(model.spec, workload.length), workload)


def memory_of(remote: RemoteModel, workload: Workload) -> Memory:
    """Memory of the variant's process so far; call it before activations are recorded there."""
    return remote.call(measure_memory, workload.length)
