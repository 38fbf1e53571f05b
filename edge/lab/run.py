"""Runs experiments one after another and records their results."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from time import perf_counter

from edge import __version__
from edge.lab.claim import Claim, Experiment, Finding
from edge.lab.context import LabContext
from models.errors import MisuseError


@dataclass(frozen=True, kw_only=True)
class ClaimResult(Claim):
    """One claim with the result of its experiment.

    Attributes:
        took_s: Seconds; includes reading the shared passage if this experiment read it first.
    """

    cost_tokens: int
    took_s: float
    finding: Finding


@dataclass(frozen=True)
class LabRecord:
    """The results of one run of the lab.

    Attributes:
        source: The origin of the text.
        passage_tokens: Tokens of the text that were read.
    """

    model: str
    engine: str
    versions: dict[str, str]
    source: str
    passage_tokens: int
    results: tuple[ClaimResult, ...]

    def number(self, key: str) -> float:
        """A number by its key, such as `F1.ffn_linear_r2`; NaN if it was not measured."""
        claim, _, name = key.partition(".")
        numbers = (number for one in self.results if one.key == claim for number in one.finding.numbers)
        return next((number.value for number in numbers if number.key == name), float("nan"))


def chosen(experiments: Iterable[Experiment], keys: Iterable[str]) -> list[Experiment]:
    """The experiments with these keys, in the order of the list; all of them if no key is given.

    Raises:
        MisuseError: an unknown key; the message lists the known ones.
    """
    by_key = {experiment.key: experiment for experiment in experiments}
    wanted = [key.upper() for key in keys]
    unknown = [key for key in wanted if key not in by_key]
    if unknown:
        raise MisuseError(f"no claim '{unknown[0]}'; the claims are {', '.join(by_key)}")
    return [experiment for key, experiment in by_key.items() if not wanted or key in wanted]


def run_all(lab: LabContext, experiments: Iterable[Experiment]) -> Iterator[ClaimResult]:
    """Runs experiments; yields the result of each one as soon as it is done."""
    for experiment in experiments:
        cost = experiment.cost_tokens(lab)
        lab.progress(f"{experiment.key} {experiment.title}: {cost:,} tokens in addition to the shared text")
        began = perf_counter()
        finding = experiment.measure(lab)
        claim = {field.name: getattr(experiment, field.name) for field in fields(Claim)}
        yield ClaimResult(**claim, cost_tokens=cost, took_s=perf_counter() - began, finding=finding)


def lab_record(lab: LabContext, results: Iterable[ClaimResult]) -> LabRecord:
    """The results with the model, engine, versions and text behind them."""
    return LabRecord(
        model=lab.model.name,
        engine=lab.model.engine,
        versions={"edge": __version__, **lab.model.versions},
        source=lab.source,
        passage_tokens=len(lab.passage),
        results=tuple(results),
    )
