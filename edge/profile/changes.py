"""Changes between two profiles of one model that exceed noise."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from edge.profile.record import DepthProfile, Profile
from edge.profile.rounds import Round

RESAMPLES = 2_000
"""Bootstrap resamples."""

CONFIDENCE = 0.95
"""Confidence level of the interval."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """Change of one latency of one variant at one depth; a ratio below 1 is faster.

    Attributes:
        what: `decode`, the inter-token latency, or `prefill`.
        ratio: Median of rounds after, divided by the median before.
        low, high: 95% bootstrap interval of the ratio over resampled rounds (Efron 1979).
    """

    engine: str
    depth: int
    what: str
    before_ms: float
    after_ms: float
    ratio: float
    low: float
    high: float

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes 1."""
        return not self.low <= 1.0 <= self.high


_TIMES: dict[str, Callable[[Round], float]] = {
    "decode": lambda one: median(one.inter_token_ms),
    "prefill": lambda one: one.prefill_ms,
}


def changes(earlier: Profile, later: Profile) -> Iterator[Change]:
    """Every latency in both profiles, for variants of the same name and equal workloads."""
    before = {variant.engine: {at.workload: at for at in variant.depths} for variant in earlier.variants}
    for variant in later.variants:
        for at in variant.depths:
            other = before.get(variant.engine, {}).get(at.workload)
            if other is not None:
                yield from _changes_of(variant.engine, other, at)


def _changes_of(engine: str, earlier: DepthProfile, later: DepthProfile) -> Iterator[Change]:
    for what, time_of in _TIMES.items():
        old, new = [time_of(one) for one in earlier.rounds], [time_of(one) for one in later.rounds]
        low, high = interval(old, new)
        yield Change(
            engine=engine,
            depth=later.workload.depth,
            what=what,
            before_ms=median(old),
            after_ms=median(new),
            ratio=median(new) / median(old),
            low=low,
            high=high,
        )


def interval(old: Sequence[float], new: Sequence[float]) -> tuple[float, float]:
    """Bootstrap interval of the ratio of medians, `new / old`: both are resampled with replacement."""
    rng = np.random.default_rng(20_261_124)
    medians = [
        np.median(rng.choice(np.asarray(samples, np.float64), (RESAMPLES, len(samples))), axis=1)
        for samples in (new, old)
    ]
    low, high = np.quantile(medians[0] / medians[1], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
