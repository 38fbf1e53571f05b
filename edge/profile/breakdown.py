"""Breakdown of a pass by part: time, bytes and operations of each, and ratios to the machine's limits."""

from dataclasses import dataclass
from functools import cached_property
from statistics import median

from edge.profile.record import PassProfile, Profile
from edge.profile.summary import bandwidth_bytes_per_s, flops_per_s, quantile
from edge.timing import Differenced, TimeBreakdown, TimesByScope, by_sublayer, medians
from models.parts import in_order, sublayer_of, within_layer
from models.sublayers.work import NOTHING


@dataclass(frozen=True)
class PartBreakdown:
    """Time of each part in passes of one kind.

    A timer around each sublayer gives its time. Finer timers, in other passes, divide that time between its parts.
    """

    passes: PassProfile

    @cached_property
    def sublayers(self) -> TimeBreakdown:
        """The whole pass, divided by timers around its sublayers."""
        times = self.passes.times
        return TimeBreakdown(total_ns=median(times.whole_ns), measured_ns=medians(times.sublayers_ns))

    @cached_property
    def differenced(self) -> Differenced | None:
        """The same pass divided by leaving sublayers out; None if the engine cannot do that."""
        return Differenced.of(self.passes.times.without)

    @property
    def total_ns(self) -> float:
        """Median uninstrumented pass."""
        return self.sublayers.total_ns

    @cached_property
    def _divided(self) -> TimesByScope:
        """Factors that scale the parts of a sublayer so that their medians sum to the sublayer's."""
        fine, coarse = by_sublayer(medians(self.passes.times.parts_ns)), self.sublayers.measured_ns
        return {scope: coarse.get(scope, 0.0) / took for scope, took in fine.items() if took}

    def samples_ns(self, part: str) -> list[float]:
        """Every measured sample of one part; of a whole sublayer if finer timers do not divide it."""
        factor = self._divided.get(sublayer_of(part))
        if factor is None:
            return [one.get(part, 0.0) for one in self.passes.times.sublayers_ns]
        return [factor * one.get(part, 0.0) for one in self.passes.times.parts_ns]

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Parts that took time, in the order of computation; whole sublayers where they are not divided."""
        coarse = self.sublayers.measured_ns
        found = {part for part in self.passes.times.parts_ns[0] if sublayer_of(part) in self._divided}
        found |= coarse.keys() - self._divided.keys()
        return tuple(in_order(found))

    @property
    def fused(self) -> tuple[str, ...]:
        """Parts that the engine computes within other parts, such as an activation fused into a matrix product."""
        return tuple(dict.fromkeys(within_layer(part) for part in self.passes.work if part not in self.parts))

    @cached_property
    def measured_ns(self) -> TimesByScope:
        """Median measured time of each part, in the order of computation."""
        return {part: median(self.samples_ns(part)) for part in self.parts}

    @cached_property
    def scaled_ns(self) -> TimesByScope:
        """The same, scaled down if the sublayers sum to more than the total."""
        return {part: took * self.sublayers.scale for part, took in self.measured_ns.items()}


@dataclass(frozen=True)
class PartRow:
    """Time, work and rates of one group of parts in one kind of pass.

    Attributes:
        measured_ns: Σ of the measured medians of its parts.
        p90_ns: 90th percentile over instrumented passes.
        scaled_ns: Measured time, scaled down if all parts sum to more than the pass.
        share: Share of the breakdown's basis, 0 to 1. Over all rows, with the unattributed share, they sum to 1.
        bytes_per_s, flops_per_s: Work divided by measured time, so scaling does not change them.
        bandwidth_ratio, flops_ratio: The same divided by the best benchmark of this run. Above 1 if the part reads from
            a cache or multiplies in 8 bits, which the benchmark does not.
    """

    part: str
    measured_ns: float
    p90_ns: float
    scaled_ns: float
    share: float
    touched_bytes: float
    flops: float
    bytes_per_s: float
    flops_per_s: float
    bandwidth_ratio: float
    flops_ratio: float


def part_rows(profile: Profile, breakdown: PartBreakdown, groups: dict[str, list[str]]) -> list[PartRow]:
    """One row per group of parts; its samples are sums over the group, per pass."""
    rows = []
    for name, parts in groups.items():
        samples = [sum(one) for one in zip(*(breakdown.samples_ns(part) for part in parts), strict=False)]
        work = [breakdown.passes.work[part] for part in parts if part in breakdown.passes.work]
        done = sum(work, start=NOTHING)
        took_ns = sum(breakdown.measured_ns[part] for part in parts)
        per_s = 1e9 / took_ns if took_ns else 0.0
        rows.append(
            PartRow(
                part=name,
                measured_ns=took_ns,
                p90_ns=quantile(samples, 0.9),
                scaled_ns=took_ns * breakdown.sublayers.scale,
                share=took_ns * breakdown.sublayers.scale / breakdown.total_ns,
                touched_bytes=done.touched_bytes,
                flops=done.flops,
                bytes_per_s=done.touched_bytes * per_s,
                flops_per_s=done.flops * per_s,
                bandwidth_ratio=done.touched_bytes * per_s / bandwidth_bytes_per_s(profile),
                flops_ratio=done.flops * per_s / flops_per_s(profile),
            )
        )
    return rows


def one_by_one(breakdown: PartBreakdown) -> dict[str, list[str]]:
    """Each part of each layer as its own group."""
    return {part: [part] for part in breakdown.parts}


def over_layers(breakdown: PartBreakdown) -> dict[str, list[str]]:
    """Groups of the same part over all layers: `attn.qkv` and others, and parts outside layers."""
    groups: dict[str, list[str]] = {}
    for part in breakdown.parts:
        groups.setdefault(within_layer(part), []).append(part)
    return groups
