"""A profile from end to end, summed up: medians, tails, rates. Everything here follows from the raw samples."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import numpy as np

from edge.profile.record import DepthProfile, PassProfile, Profile, VariantProfile
from edge.profile.rounds import spread

UNRELIABLE_SPREAD = 0.2
"""Rounds whose medians lie further apart than this share of their median are called noisy."""


def quantile(samples: Sequence[float], q: float) -> float:
    """numpy's, by straight lines between samples."""
    return float(np.quantile(np.asarray(samples, np.float64), q))


@dataclass(frozen=True)
class DepthSummary:
    """One variant from end to end at one depth.

    Attributes:
        profile: The whole run, for what the machine can do.
    """

    profile: Profile
    variant: VariantProfile
    at: DepthProfile

    @cached_property
    def intervals_ms(self) -> list[float]:
        """Every interval between two tokens, of all rounds."""
        return [wait for one in self.at.rounds for wait in one.inter_token_ms]

    @property
    def prefill_ms(self) -> float:
        """Median over rounds."""
        return median(one.prefill_ms for one in self.at.rounds)

    @property
    def prefill_tokens_per_s(self) -> float:
        return 1e3 * self.at.workload.prompt / self.prefill_ms

    @property
    def decode_tokens_per_s(self) -> float:
        """`(n - 1) / (t_last - t_first)` over all rounds together."""
        return 1e3 * len(self.intervals_ms) / sum(self.intervals_ms)

    @property
    def ttft_ms(self) -> float | None:
        """Request to first generated token, tokenization included; None without a tokenizer."""
        firsts = self.variant.first_tokens
        return median(one.ttft_ms for one in firsts) if firsts else None

    @property
    def tokenize_ms(self) -> float | None:
        """What of that is text to ids; None without a tokenizer."""
        firsts = self.variant.first_tokens
        return median(one.tokenize_ms for one in firsts) if firsts else None

    @property
    def decode_bytes(self) -> float:
        """What a token must bring from memory at least."""
        return sum(work.touched_bytes for work in self.decode.work.values())

    @property
    def bandwidth_ratio(self) -> float:
        """Bytes that a token touches a second, by the bytes that a sweep beyond every cache reads a second.

        Above 1 where the caches hold what a token touches.
        """
        return self.decode_bytes / (median(self.intervals_ms) / 1e3) / bandwidth_bytes_per_s(self.profile)

    @property
    def decode(self) -> PassProfile:
        """The decode step from inside."""
        return next(one for one in self.at.passes if one.times.tokens == 1)

    @property
    def spread(self) -> float:
        """How far apart the medians of rounds are: `(largest - smallest) / median`."""
        return spread(self.at.rounds)

    @property
    def joules_per_token(self) -> float | None:
        """Median over rounds; None where nothing counts energy."""
        spent = [one.decode_joules for one in self.at.rounds if one.decode_joules is not None]
        return median(spent) / (self.at.workload.tokens + 1) if spent else None


def bandwidth_bytes_per_s(profile: Profile) -> float:
    """The best that any sweep of this run reached."""
    return max(sweep.bandwidth_bytes_per_s for sweep in profile.rooflines)


def flops_per_s(profile: Profile) -> float:
    """The best that any sweep of this run reached."""
    return max(sweep.flops_per_s for sweep in profile.rooflines)


def depth_summaries(profile: Profile) -> Iterator[DepthSummary]:
    """Every variant at every depth."""
    for variant in profile.variants:
        for at in variant.depths:
            yield DepthSummary(profile, variant, at)
