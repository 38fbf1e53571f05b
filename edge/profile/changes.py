"""Two profiles of one model, then and now: what changed beyond noise."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from edge.profile.record import DepthProfile, Profile
from edge.profile.rounds import Round

RESAMPLES = 2_000
"""Draws of the bootstrap."""

SURE = 0.95
"""The share of draws that the interval holds."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One time of one variant at one depth, now by then: below 1, it became faster.

    Attributes:
        what: `decode`, an interval between tokens; or `prefill`, a prompt.
        ratio: Of the medians of rounds.
        low, high: Where 95% of the ratios lie that resampled rounds give (Efron 1979, the bootstrap).
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
        """Whether noise alone hardly explains it: no change lies outside the interval."""
        return not self.low <= 1.0 <= self.high


_TIMES: dict[str, Callable[[Round], float]] = {
    "decode": lambda one: median(one.inter_token_ms),
    "prefill": lambda one: one.prefill_ms,
}


def changes(then: Profile, now: Profile) -> Iterator[Change]:
    """Every time that both profiles have, of variants and depths with the same name and workload."""
    before = {variant.engine: {at.workload: at for at in variant.depths} for variant in then.variants}
    for variant in now.variants:
        for at in variant.depths:
            other = before.get(variant.engine, {}).get(at.workload)
            if other is not None:
                yield from _changes_of(variant.engine, other, at)


def _changes_of(engine: str, then: DepthProfile, now: DepthProfile) -> Iterator[Change]:
    for what, time_of in _TIMES.items():
        old, new = [time_of(one) for one in then.rounds], [time_of(one) for one in now.rounds]
        low, high = interval(old, new)
        yield Change(
            engine=engine,
            depth=now.workload.depth,
            what=what,
            before_ms=median(old),
            after_ms=median(new),
            ratio=median(new) / median(old),
            low=low,
            high=high,
        )


def interval(old: Sequence[float], new: Sequence[float]) -> tuple[float, float]:
    """Where the ratio of medians lies, `new` by `old`, when both are drawn again from their own samples."""
    draw = np.random.default_rng(20_261_124)
    medians = [
        np.median(draw.choice(np.asarray(samples, np.float64), (RESAMPLES, len(samples))), axis=1)
        for samples in (new, old)
    ]
    low, high = np.quantile(medians[0] / medians[1], [(1 - SURE) / 2, (1 + SURE) / 2])
    return float(low), float(high)
