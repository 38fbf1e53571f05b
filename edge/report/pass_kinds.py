"""Time per part in the passes of a profile, for bars and timelines."""

import math
from dataclasses import dataclass
from statistics import median

from edge.profile.breakdown import PartBreakdown
from edge.profile.record import PassProfile, Profile, VariantProfile
from edge.profile.summary import quantile
from edge.timing import PassTimes, TimeBreakdown
from models.errors import EdgeError


def variant_title(engine: str, threads: int) -> str:
    """`onnx · 2 threads`."""
    return f"{engine} · {threads} thread{'' if threads == 1 else 's'}"


@dataclass(frozen=True)
class PartTimes:
    """Times of one engine in one kind of pass."""

    variant: VariantProfile
    breakdown: PartBreakdown

    @property
    def times(self) -> PassTimes:
        """Every sample."""
        return self.breakdown.passes.times

    @property
    def title(self) -> str:
        """`onnx · 2 threads`."""
        return variant_title(self.variant.engine, self.variant.threads)

    @property
    def total_ns(self) -> float:
        """Uninstrumented latency: median of whole passes without timers."""
        return self.breakdown.total_ns

    @property
    def p90_ns(self) -> float:
        """90th percentile of whole passes without timers."""
        return quantile(self.times.whole_ns, 0.9)

    @property
    def sublayers(self) -> TimeBreakdown:
        """The breakdown of the pass by sublayer."""
        return self.breakdown.sublayers


@dataclass(frozen=True)
class PassKind:
    """Comparable passes: the same number of tokens at the same depth, on every engine that ran them.

    Attributes:
        tokens: Tokens of a pass; 1 is a decode step.
        depth: Tokens in the cache before it.
    """

    tokens: int
    depth: int
    engines: tuple[PartTimes, ...]

    @property
    def title(self) -> str:
        """`prefill of 256 tokens, 0 cached tokens`."""
        what = "a decode step" if self.tokens == 1 else f"prefill of {self.tokens:,} tokens"
        return f"{what}, {self.depth:,} cached tokens"


def pass_kinds(profile: Profile) -> list[PassKind]:
    """Every kind of pass that was measured: prefill first, then decode, both by depth.

    Raises:
        EdgeError: a pass has no samples, or a sample is not a valid time.
    """
    found: dict[tuple[int, int], list[PartTimes]] = {}
    for variant in profile.variants:
        for at in variant.depths:
            for passes in at.passes:
                kind = (passes.times.tokens, passes.times.depth)
                found.setdefault(kind, []).append(_checked(variant, passes))
    ordered = sorted(found, key=lambda kind: (kind[0] == 1, kind[1], kind[0]))
    return [PassKind(tokens, depth, tuple(found[tokens, depth])) for tokens, depth in ordered]


def _checked(variant: VariantProfile, passes: PassProfile) -> PartTimes:
    """The times of a pass; refuses a pass that cannot be drawn."""
    times = passes.times
    samples = [*times.whole_ns, *(took for one in (*times.sublayers_ns, *times.parts_ns) for took in one.values())]
    usable = times.whole_ns and times.sublayers_ns and times.parts_ns
    if not usable or not all(math.isfinite(one) and one >= 0 for one in samples) or median(times.whole_ns) <= 0:
        raise EdgeError(
            f"the passes of {times.tokens} tokens with {times.depth} cached tokens on {variant.engine} have no valid "
            "times; run 'edge profile' again"
        )
    return PartTimes(variant, PartBreakdown(passes))
