"""A profile from inside, summed up: what each part of a pass takes, beside its work and what the machine can do."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from edge.profile.record import PassProfile, Profile
from edge.profile.summary import bandwidth_bytes_per_s, flops_per_s, quantile
from edge.profile.work import NOTHING
from edge.timing import Differenced, TimeBreakdown, TimesByScope, by_sublayer, medians
from models.parts import OTHER, layer_parts, layers_of, sublayer_of, within_layer


@dataclass(frozen=True)
class PartBreakdown:
    """Where passes of one kind spend their time.

    A sublayer's time is what a clock around it says; its parts have the shares of it that finer clocks give them.
    """

    passes: PassProfile

    @cached_property
    def sublayers(self) -> TimeBreakdown:
        """The whole pass, and what the clocks around its sublayers say."""
        times = self.passes.times
        return TimeBreakdown(total_ns=median(times.whole_ns), measured_ns=medians(times.sublayers_ns))

    @cached_property
    def differenced(self) -> Differenced | None:
        """The same pass by differencing; None where the engine cannot leave sublayers out."""
        return Differenced.of(self.passes.times.without)

    @property
    def total_ns(self) -> float:
        """Median of whole passes without instruments."""
        return self.sublayers.total_ns

    @cached_property
    def _divided(self) -> TimesByScope:
        """What samples of a sublayer's parts are multiplied by, so that their medians sum to the sublayer's."""
        fine, coarse = by_sublayer(medians(self.passes.times.parts_ns)), self.sublayers.measured_ns
        return {scope: coarse.get(scope, 0.0) / took for scope, took in fine.items() if took}

    def samples_ns(self, part: str) -> list[float]:
        """Every sample of one part, as measured; of a sublayer that finer clocks do not divide, its own."""
        factor = self._divided.get(sublayer_of(part))
        if factor is None:
            return [one.get(part, 0.0) for one in self.passes.times.sublayers_ns]
        return [factor * one.get(part, 0.0) for one in self.passes.times.parts_ns]

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Those that took time, in the order in which they are computed; a sublayer whole that is not divided."""
        coarse = self.sublayers.measured_ns
        found = {part for part in self.passes.times.parts_ns[0] if sublayer_of(part) in self._divided}
        found |= coarse.keys() - self._divided.keys()
        ordered = ["embed", *_in_order(layers_of(found)), "head", OTHER]
        return tuple(part for part in ordered if part in found)

    @property
    def fused(self) -> tuple[str, ...]:
        """Parts with work of their own that the engine computes inside others, such as an activation in a product."""
        return tuple(dict.fromkeys(within_layer(part) for part in self.passes.work if part not in self.parts))

    @cached_property
    def measured_ns(self) -> TimesByScope:
        """The median of each part, as measured, in the order in which they are computed."""
        return {part: median(self.samples_ns(part)) for part in self.parts}

    @cached_property
    def scaled_ns(self) -> TimesByScope:
        """The same, scaled down where the sublayers sum to more than the total."""
        return {part: took * self.sublayers.scale for part, took in self.measured_ns.items()}


def _in_order(layers: Iterable[int]) -> Iterator[str]:
    """Every sublayer of some layers and then its parts."""
    for layer in layers:
        yield from dict.fromkeys(name for part in layer_parts(layer) for name in (sublayer_of(part), part))


@dataclass(frozen=True)
class PartRow:
    """One part of one kind of pass, beside its work and what the machine can do.

    Attributes:
        measured_ns: Σ of the medians of its parts, as the clocks say.
        p90_ns: What nine of ten passes with clocks stay below.
        scaled_ns: As measured, scaled down where all parts of the pass sum to more than the pass.
        share: Of the account's basis, 0 to 1; over all rows, and with the gap, they sum to 1.
        bytes_per_s, flops_per_s: Its work by the measured time, so that scaling makes no part faster.
        bandwidth_ratio, flops_ratio: The same over the best that this run's rooflines reached; above 1 where the
            part reads from a cache, or multiplies in 8 bits, and the sweep does not.
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
    """One row a group of parts; its samples are sums over the group, pass by pass."""
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
    """Every part of every layer by itself."""
    return {part: [part] for part in breakdown.parts}


def over_layers(breakdown: PartBreakdown) -> dict[str, list[str]]:
    """The same part of all layers together: `attn.qkv`, `ffn.down`, and what lies outside layers."""
    groups: dict[str, list[str]] = {}
    for part in breakdown.parts:
        groups.setdefault(within_layer(part), []).append(part)
    return groups
