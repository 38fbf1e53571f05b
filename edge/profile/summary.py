"""End-to-end summary of a profile: medians, percentiles and rates, computed from the samples."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import numpy as np

from edge.profile.machine import Machine
from edge.profile.record import DepthProfile, PassProfile, Profile, VariantProfile
from edge.profile.rounds import spread

UNRELIABLE_SPREAD = 0.2
"""Timing is unreliable if the spread of the medians of rounds is above this."""

_BUSY = 1.5
"""Timing is unreliable if the load average before it was above this."""


def busy_text(machine: Machine) -> str:
    """That the machine was busy when timing began; empty where it was not, or where the system does not report it."""
    if machine.busy is None or machine.busy <= _BUSY:
        return ""
    return f"the load average was {machine.busy:.1f} (1 minute) on {machine.cores} cores"


def quantile(samples: Sequence[float], q: float) -> float:
    """numpy's quantile, with linear interpolation."""
    return float(np.quantile(np.asarray(samples, np.float64), q))


@dataclass(frozen=True)
class DepthSummary:
    """End-to-end summary of one variant at one depth.

    Attributes:
        profile: The whole profile, for the machine's limits.
    """

    profile: Profile
    variant: VariantProfile
    at: DepthProfile

    @cached_property
    def intervals_ms(self) -> list[float]:
        """Every interval between two tokens, over all rounds."""
        return [wait for one in self.at.rounds for wait in one.inter_token_ms]

    @property
    def prefill_ms(self) -> float:
        """Median prefill latency over rounds."""
        return median(one.prefill_ms for one in self.at.rounds)

    @property
    def prefill_tokens_per_s(self) -> float:
        return 1e3 * self.at.workload.prompt / self.prefill_ms

    @property
    def decode_tokens_per_s(self) -> float:
        """Decode rate `(n - 1) / (t_last - t_first)` over all rounds."""
        return 1e3 * len(self.intervals_ms) / sum(self.intervals_ms)

    @property
    def ttft_ms(self) -> float | None:
        """Time to first token, tokenization included; None without a tokenizer."""
        firsts = self.variant.first_tokens
        return median(one.ttft_ms for one in firsts) if firsts else None

    @property
    def tokenize_ms(self) -> float | None:
        """Time of tokenization, included in `ttft_ms`; None without a tokenizer."""
        firsts = self.variant.first_tokens
        return median(one.tokenize_ms for one in firsts) if firsts else None

    @property
    def decode_bytes(self) -> float | None:
        """Minimum bytes that a decode step reads from memory; None without instrumented passes."""
        return sum(work.touched_bytes for work in self.decode.work.values()) if self.decode else None

    @property
    def bandwidth_ratio(self) -> float | None:
        """Bytes per second of a decode step, divided by the measured memory bandwidth.

        Above 1 if the data of a step fits in the caches. None without instrumented passes.
        """
        if self.decode_bytes is None:
            return None
        return self.decode_bytes / (median(self.intervals_ms) / 1e3) / bandwidth_bytes_per_s(self.profile)

    @property
    def decode(self) -> PassProfile | None:
        """The instrumented decode step; None if the runtime cannot be timed inside."""
        return next((one for one in self.at.passes if one.times.tokens == 1), None)

    @property
    def spread(self) -> float:
        """Spread of the medians of rounds: `(largest - smallest) / median`."""
        return spread(self.at.rounds)

    @property
    def joules_per_token(self) -> float | None:
        """Median energy per token over rounds; None without a counter."""
        spent = [one.decode_joules for one in self.at.rounds if one.decode_joules is not None]
        return median(spent) / (self.at.workload.tokens + 1) if spent else None


def bandwidth_bytes_per_s(profile: Profile) -> float:
    """The highest memory bandwidth measured in this profile."""
    return max(roofline.bandwidth_bytes_per_s for roofline in profile.rooflines)


def flops_per_s(profile: Profile) -> float:
    """The highest compute rate measured in this profile, in float32 operations per second."""
    return max(roofline.flops_per_s for roofline in profile.rooflines)


def depth_summaries(profile: Profile) -> Iterator[DepthSummary]:
    """One summary per variant and depth."""
    for variant in profile.variants:
        for at in variant.depths:
            yield DepthSummary(profile, variant, at)
