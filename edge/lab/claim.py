"""What an experiment of the lab is, and what it finds."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from edge.lab.effect import Effect, Verdict, reason_of, verdict_of
from edge.lab.subject import Subject


@dataclass(frozen=True)
class Number:
    """One measured number.

    Attributes:
        key: Its name for scripts, unit included: `ffn_r2`, `mean_distance_tokens`.
        means: What it is, in a few words for people.
        value: NaN where it could not be found.
        unit: `share`, `bits`, `nats`, `tokens`, `ms`, `bytes`, `count`, `ratio`; a share is 0 to 1.
        baseline: What chance, or the absence of what is claimed, would give; None where nothing is to be compared.
    """

    key: str
    means: str
    value: float
    unit: str
    baseline: float | None = None


@dataclass(frozen=True)
class Series:
    """One line or one set of bars; NaN where a point is missing."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """Series over one axis, one point an entry of `x`.

    Attributes:
        x: Labels, or numbers written out, from left to right.
    """

    title: str
    x_title: str
    x: tuple[str, ...]
    y_title: str
    series: tuple[Series, ...]


def layer_curve(title: str, y_title: str, lines: Mapping[str, Iterable[float]], layers: Iterable[int]) -> Curve:
    """Lines over layers, by what each is."""
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
    """What one experiment found on one model.

    Attributes:
        says: What was found in plain words, with its numbers; without effects, why the claim could not be tried.
        effects: What the verdict follows from.
        numbers: What else was measured; no verdict depends on it.
    """

    says: str
    effects: tuple[Effect, ...] = ()
    numbers: tuple[Number, ...] = ()
    curves: tuple[Curve, ...] = ()
    grids: tuple[Grid, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """What the effects say."""
        return verdict_of(self.effects)

    @property
    def reason(self) -> str:
        """Why, in one sentence."""
        return reason_of(self.effects) or self.says


def not_applicable(reason: str) -> Finding:
    """For a model, or a text, on which a claim cannot be tried."""
    return Finding(reason)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim and the way to try it, in words.

    Attributes:
        key: `F4`: F is of the FFN, A of attention, S of the stack.
        claim: What is claimed.
        asks: The question that is measured.
        how: How, formulas included.
        rule: What its effects are, and when it holds.
        source: Where the claim and the method are from.
    """

    key: str
    claim: str
    asks: str
    how: str
    rule: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Experiment(Claim):
    """A claim that can be tried.

    Attributes:
        cost_tokens: Tokens that it feeds to a model beyond the shared passage, known before it runs.
        measure: Runs it.
    """

    cost_tokens: Callable[[Subject], int]
    measure: Callable[[Subject], Finding] = field(repr=False)


def shared_passage_only(subject: Subject) -> int:
    """The cost of an experiment that reads the shared passage, which is fed once for all."""
    return 0
