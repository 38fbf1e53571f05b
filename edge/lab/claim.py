"""The experiments of the lab and their results."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from edge.lab.context import LabContext
from edge.lab.effect import Effect, Verdict, reason_of, verdict_of


@dataclass(frozen=True)
class Number:
    """One measured number.

    Attributes:
        key: Its name for scripts, unit included: `ffn_r2`, `mean_distance_tokens`.
        label: Its name for people.
        value: NaN where it could not be measured.
        unit: `share`, `share_difference`, `bits`, `nats`, `tokens`, `ms`, `bytes`, `count`, `ratio`. A share is 0 to 1,
            a difference of shares or probabilities is -1 to 1 and shown in percentage points.
        baseline: The value at chance level, or if the claim were false; None where there is no such value.
    """

    key: str
    label: str
    value: float
    unit: str
    baseline: float | None = None


@dataclass(frozen=True)
class Series:
    """One line, or one set of bars; NaN for a missing point."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """Several series over one axis, with one point for each entry of `x`.

    Attributes:
        x: Labels, or numbers as text, from left to right.
    """

    title: str
    x_title: str
    x: tuple[str, ...]
    y_title: str
    series: tuple[Series, ...]


def layer_curve(title: str, y_title: str, lines: Mapping[str, Iterable[float]], layers: Iterable[int]) -> Curve:
    """Lines over layers, by name."""
    series = tuple(Series(name, tuple(float(value) for value in values)) for name, values in lines.items())
    return Curve(title, "layer", tuple(str(layer) for layer in layers), y_title, series)


@dataclass(frozen=True)
class Grid:
    """A number for each row and column, such as each layer and head.

    Attributes:
        values: Row by row, the first row first.
    """

    title: str
    rows_title: str
    columns_title: str
    unit: str
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Finding:
    """The result of one experiment on one model.

    Attributes:
        summary: The result in a few sentences with its numbers; without effects, why the claim could not be tested.
        effects: The effects that decide the verdict.
        numbers: Other measurements; no verdict depends on them.
    """

    summary: str
    effects: tuple[Effect, ...] = ()
    numbers: tuple[Number, ...] = ()
    curves: tuple[Curve, ...] = ()
    grids: tuple[Grid, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The verdict that follows from the effects."""
        return verdict_of(self.effects)

    @property
    def reason(self) -> str:
        """The reason for the verdict, in one sentence."""
        return reason_of(self.effects) or self.summary


def not_applicable(reason: str) -> Finding:
    """A finding for a model or text on which the claim cannot be tested."""
    return Finding(reason)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim and how it is tested, in words.

    Attributes:
        key: `F4`: F for the FFN, A for attention, R for the router of a mixture, S for the stack of both.
        title: The claim.
        question: The question that the experiment answers.
        method: How it is measured, with formulas.
        rule: When the effects support the claim.
        source: The papers behind the claim and the method.
    """

    key: str
    title: str
    question: str
    method: str
    rule: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Experiment(Claim):
    """A claim with the code that tests it.

    Attributes:
        cost_tokens: Tokens that it feeds to the model beyond the shared passage, known before it runs.
        measure: Runs the experiment.
    """

    cost_tokens: Callable[[LabContext], int]
    measure: Callable[[LabContext], Finding] = field(repr=False)


def shared_passage_only(lab: LabContext) -> int:
    """The cost of an experiment that uses only the shared passage, which is fed once for all experiments."""
    return 0
