"""What an experiment measures of its claim: effects with 95% intervals and thresholds, and the verdict of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isnan

from edge.lab.sample import Interval
from edge.picture.units import show_measured, show_with_unit

FEWEST = 3
"""Units of a sample; with fewer nothing is decided."""


class Verdict(StrEnum):
    """What the effects say of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    OPEN = "not shown"
    UNKNOWN = "not applicable"


class Side(StrEnum):
    """Where an effect lies if the claim holds."""

    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One effect that a claim rests on, with its uncertainty.

    Attributes:
        key: Its name for scripts.
        means: What it is, in a few words.
        value: NaN where it could not be found.
        low, high: The 95% interval.
        unit: As of `Number`.
        threshold: What the whole interval must be above or below for the claim to hold.
        side: Which of both.
        baseline: What the threshold is, with its source.
        sample: Units of the sample behind the interval; None where the value is counted and has no uncertainty.
        of: What a unit is: `facts`, `windows`.
    """

    key: str
    means: str
    value: float
    low: float
    high: float
    unit: str
    threshold: float
    side: Side = Side.ABOVE
    baseline: str
    sample: int | None
    of: str

    @property
    def is_measured(self) -> bool:
        """Whether there is an interval, of a sample that is large enough."""
        known = not any(isnan(number) for number in (self.value, self.low, self.high, self.threshold))
        return known and (self.sample is None or self.sample >= FEWEST)

    @property
    def verdict(self) -> Verdict:
        """`HOLDS` and `FAILS` where the whole interval is on one side of the threshold, else `OPEN`."""
        if not self.is_measured:
            return Verdict.OPEN
        if self.low > self.threshold:
            return Verdict.HOLDS if self.side is Side.ABOVE else Verdict.FAILS
        if self.high < self.threshold:
            return Verdict.FAILS if self.side is Side.ABOVE else Verdict.HOLDS
        return Verdict.OPEN

    @property
    def interval(self) -> str:
        """The interval for people: `[20.1%, 48.0%]`; empty where the value is counted."""
        if self.sample is None:
            return ""
        return f"[{show_measured(self.low, self.unit)}, {show_measured(self.high, self.unit)}]"

    @property
    def wanted(self) -> str:
        """What the claim asks for: `above 10%`."""
        return f"{self.side} {show_with_unit(self.threshold, self.unit)}"

    @property
    def told(self) -> str:
        """The effect, its interval, and where it lies, as part of a sentence."""
        told = f"{self.means}: {show_with_unit(self.value, self.unit)} {self.interval}".rstrip()
        if isnan(self.value):
            return f"{self.means} could not be measured"
        if not self.is_measured:
            return f"{told}, of {self.sample} {self.of}, which is too few"
        side, threshold = self.side, show_with_unit(self.threshold, self.unit)
        match self.verdict:
            case Verdict.HOLDS:
                return f"{told} is {side} {threshold}"
            case Verdict.FAILS:
                return f"{told} is not {side} {threshold}"
            case _:
                return f"{told} includes {threshold}" if self.low < self.high else f"{told} is {threshold}"


def effect_of(
    interval: Interval,
    *,
    key: str,
    means: str,
    unit: str,
    threshold: float,
    baseline: str,
    of: str,
    side: Side = Side.ABOVE,
) -> Effect:
    """An effect from an estimate and its interval."""
    return Effect(
        key=key,
        means=means,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        unit=unit,
        threshold=threshold,
        side=side,
        baseline=baseline,
        sample=interval.sample,
        of=of,
    )


def verdict_of(effects: Sequence[Effect]) -> Verdict:
    """A claim holds where all its effects do, fails where one does, and is not shown otherwise.

    Without effects it could not be tried.
    """
    if not effects:
        return Verdict.UNKNOWN
    found = [effect.verdict for effect in effects]
    if Verdict.FAILS in found:
        return Verdict.FAILS
    return Verdict.OPEN if Verdict.OPEN in found else Verdict.HOLDS


def reason_of(effects: Sequence[Effect]) -> str:
    """Why the verdict is what it is, in one sentence, from the effects that decide it; empty without effects."""
    verdict = verdict_of(effects)
    deciding = [effect.told for effect in effects if effect.verdict is verdict]
    if not deciding:
        return ""
    return f"{'; '.join(deciding)}."
