"""A profile from inside, summed up: what each part of a pass takes, beside its work and what the machine can do."""

from dataclasses import dataclass
from functools import cached_property
from statistics import median

import numpy as np

from edge.profile.record import PassProfile, Profile
from edge.profile.summary import bandwidth_bytes_per_s, flops_per_s, quantile
from edge.profile.work import NOTHING
from edge.timing import Account, Took, by_sublayer, medians
from models.parts import OTHER, layer_parts, layers_of, sublayer_of, within_layer


@dataclass(frozen=True)
class Inside:
    """Where passes of one kind spend their time.

    A sublayer's time is what a clock around it says, scaled down where all clocks together say more than the whole
    pass took; its parts have the shares that finer clocks give them.
    """

    passes: PassProfile

    @cached_property
    def account(self) -> Account:
        """The whole pass, and what the clocks around its sublayers say."""
        times = self.passes.times
        return Account(total_ns=median(times.whole_ns), measured_ns=medians(times.sublayers_ns))

    @property
    def total_ns(self) -> float:
        """Median of whole passes without instruments."""
        return self.account.total_ns

    @property
    def coverage(self) -> float:
        """Σ measured sublayers / un-instrumented total; above 1 the instruments slowed the pass down."""
        return self.account.coverage

    @property
    def gap_ns(self) -> float:
        """What no sublayer accounts for."""
        return self.account.gap_ns

    @cached_property
    def _scales(self) -> Took:
        """What samples of a sublayer's parts are multiplied by, so that their medians sum to its share of the total."""
        fine, shares = by_sublayer(medians(self.passes.times.parts_ns)), self.account.parts_ns
        return {scope: shares.get(scope, 0.0) / took if took else 0.0 for scope, took in fine.items()}

    def samples_ns(self, part: str) -> list[float]:
        """Every sample of one part, scaled."""
        scale = self._scales[sublayer_of(part)]
        return [scale * one.get(part, 0.0) for one in self.passes.times.parts_ns]

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Those that took time, in the order in which they are computed."""
        measured = self.passes.times.parts_ns[0]
        ordered = ["embed", *(part for layer in layers_of(measured) for part in layer_parts(layer)), "head", OTHER]
        return tuple(part for part in ordered if part in measured)

    @property
    def fused(self) -> tuple[str, ...]:
        """Parts with work of their own that the engine computes inside others, such as an activation in a product."""
        return tuple(dict.fromkeys(within_layer(part) for part in self.passes.work if part not in self.parts))

    def median_ns(self, part: str) -> float:
        return median(self.samples_ns(part))


@dataclass(frozen=True)
class PartRow:
    """One part of one kind of pass, beside its work and what the machine can do.

    Attributes:
        share: Of the un-instrumented total.
        bandwidth_share, flops_share: Of the best that this run's sweeps reached.
    """

    part: str
    median_ns: float
    p90_ns: float
    share: float
    touched_bytes: float
    flops: float
    bandwidth_share: float
    flops_share: float

    @property
    def bytes_per_s(self) -> float:
        return self.touched_bytes / self.median_ns * 1e9 if self.median_ns else 0.0

    @property
    def flops_per_s(self) -> float:
        return self.flops / self.median_ns * 1e9 if self.median_ns else 0.0


def part_rows(profile: Profile, inside: Inside, groups: dict[str, list[str]]) -> list[PartRow]:
    """One row a group of parts; its samples are sums over the group, pass by pass."""
    rows = []
    for name, parts in groups.items():
        samples = np.sum([inside.samples_ns(part) for part in parts], axis=0)
        work = [inside.passes.work[part] for part in parts if part in inside.passes.work]
        done = sum(work, start=NOTHING)
        took_ns = float(np.median(samples))
        per_s = 1e9 / took_ns if took_ns else 0.0
        rows.append(
            PartRow(
                part=name,
                median_ns=took_ns,
                p90_ns=quantile(samples.tolist(), 0.9),
                share=took_ns / inside.total_ns,
                touched_bytes=done.touched_bytes,
                flops=done.flops,
                bandwidth_share=done.touched_bytes * per_s / bandwidth_bytes_per_s(profile),
                flops_share=done.flops * per_s / flops_per_s(profile),
            )
        )
    return rows


def one_by_one(inside: Inside) -> dict[str, list[str]]:
    """Every part of every layer by itself."""
    return {part: [part] for part in inside.parts}


def over_layers(inside: Inside) -> dict[str, list[str]]:
    """The same part of all layers together: `attn.qkv`, `ffn.down`, and what lies outside layers."""
    groups: dict[str, list[str]] = {}
    for part in inside.parts:
        groups.setdefault(within_layer(part), []).append(part)
    return groups
