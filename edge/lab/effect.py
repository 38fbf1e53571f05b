"""Effects that test a claim: estimates with 95% intervals and thresholds, and the verdict that follows from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isnan

from edge.lab.sample import Interval
from edge.picture.units import show_measured, show_with_unit

MIN_SAMPLE = 3
"""Minimum size of a sample, in units, for a verdict."""


class Verdict(StrEnum):
    """Whether the effects support a claim."""

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not supported"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not applicable"


class Side(StrEnum):
    """On which side of the threshold an effect lies if the claim is true."""

    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One effect that tests a claim, with its uncertainty.

    Attributes:
        key: Its name for scripts.
        label: Its name for people.
        value: NaN where it could not be measured.
        low, high: The 95% interval.
        unit: As in `Number`.
        threshold: The claim is supported if the whole interval is above it, or below it.
        side: Above or below.
        threshold_reason: The reason for the threshold, with its source, and the baseline.
        sample: Size of the sample behind the interval; None where the value is exact.
        sample_unit: The units of the sample: `facts`, `windows`.
    """

    key: str
    label: str
    value: float
    low: float
    high: float
    unit: str
    threshold: float
    side: Side = Side.ABOVE
    threshold_reason: str
    sample: int | None
    sample_unit: str

    @property
    def is_measured(self) -> bool:
        """Whether there is an interval from a large enough sample."""
        known = not any(isnan(number) for number in (self.value, self.low, self.high, self.threshold))
        return known and (self.sample is None or self.sample >= MIN_SAMPLE)

    @property
    def verdict(self) -> Verdict:
        """`SUPPORTED` or `NOT_SUPPORTED` if the whole interval is on one side of the threshold, else `INCONCLUSIVE`."""
        if not self.is_measured:
            return Verdict.INCONCLUSIVE
        if self.low > self.threshold:
            return Verdict.SUPPORTED if self.side is Side.ABOVE else Verdict.NOT_SUPPORTED
        if self.high < self.threshold:
            return Verdict.NOT_SUPPORTED if self.side is Side.ABOVE else Verdict.SUPPORTED
        return Verdict.INCONCLUSIVE

    @property
    def interval(self) -> str:
        """The interval for people: `[20.1%, 48.0%]`; empty where the value is exact."""
        if self.sample is None:
            return ""
        return f"[{show_measured(self.low, self.unit)}, {show_measured(self.high, self.unit)}]"

    @property
    def criterion(self) -> str:
        """What supports the claim: `above 10%`."""
        return f"{self.side} {show_with_unit(self.threshold, self.unit)}"

    @property
    def sentence(self) -> str:
        """The effect, its interval, and how it compares with the threshold, as part of a sentence."""
        effect = f"{self.label}: {show_with_unit(self.value, self.unit)} {self.interval}".rstrip()
        if isnan(self.value):
            return f"{self.label} could not be measured"
        if not self.is_measured:
            return f"{effect}; the sample is too small ({self.sample} {self.sample_unit})"
        side, threshold = self.side, show_with_unit(self.threshold, self.unit)
        match self.verdict:
            case Verdict.SUPPORTED:
                return f"{effect} is {side} {threshold}"
            case Verdict.NOT_SUPPORTED:
                return f"{effect} is not {side} {threshold}"
            case _:
                return f"{effect}{', an interval that includes' if self.low < self.high else ' is'} {threshold}"


def effect_of(
    interval: Interval,
    *,
    key: str,
    label: str,
    unit: str,
    threshold: float,
    threshold_reason: str,
    sample_unit: str,
    side: Side = Side.ABOVE,
) -> Effect:
    """An effect from an estimate and its interval."""
    return Effect(
        key=key,
        label=label,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        unit=unit,
        threshold=threshold,
        side=side,
        threshold_reason=threshold_reason,
        sample=interval.sample,
        sample_unit=sample_unit,
    )


def verdict_of(effects: Sequence[Effect]) -> Verdict:
    """Supported if all effects support it, not supported if one effect contradicts it, inconclusive otherwise.

    Not applicable without effects: the claim could not be tested.
    """
    if not effects:
        return Verdict.NOT_APPLICABLE
    found = [effect.verdict for effect in effects]
    if Verdict.NOT_SUPPORTED in found:
        return Verdict.NOT_SUPPORTED
    return Verdict.INCONCLUSIVE if Verdict.INCONCLUSIVE in found else Verdict.SUPPORTED


def reason_of(effects: Sequence[Effect]) -> str:
    """The reason for the verdict in one sentence, from the effects that decide it; empty without effects."""
    verdict = verdict_of(effects)
    deciding = [effect.sentence for effect in effects if effect.verdict is verdict]
    if not deciding:
        return ""
    return f"{'; '.join(deciding)}."
