"""Makes experiments one after another, and keeps what they found beside what they were made on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from time import perf_counter

from edge import __version__
from edge.lab.claim import Claim, Experiment, Finding
from edge.lab.subject import Subject
from models.errors import MisuseError


@dataclass(frozen=True, kw_only=True)
class Tried(Claim):
    """One experiment as it was made.

    Attributes:
        took_s: Seconds, the shared passage included where this experiment was the first to read it.
    """

    cost_tokens: int
    took_s: float
    finding: Finding


@dataclass(frozen=True)
class LabRecord:
    """All experiments of one run.

    Attributes:
        source: Where the text is from.
        passage_tokens: Tokens of it that were read.
    """

    model: str
    engine: str
    versions: dict[str, str]
    source: str
    passage_tokens: int
    tried: tuple[Tried, ...]

    def number(self, key: str) -> float:
        """A number by its key, such as `F1.ffn_linear_r2`; NaN where it was not found."""
        claim, _, name = key.partition(".")
        numbers = (number for tried in self.tried if tried.key == claim for number in tried.finding.numbers)
        return next((number.value for number in numbers if number.key == name), float("nan"))


def chosen(known: Iterable[Experiment], keys: Iterable[str]) -> list[Experiment]:
    """The experiments of these keys, in the order of the list; all of them where no key is given.

    Raises:
        MisuseError: an unknown key; the message lists those there are.
    """
    by_key = {experiment.key: experiment for experiment in known}
    wanted = [key.upper() for key in keys]
    unknown = [key for key in wanted if key not in by_key]
    if unknown:
        raise MisuseError(f"no claim '{unknown[0]}'; the claims are {', '.join(by_key)}")
    return [experiment for key, experiment in by_key.items() if not wanted or key in wanted]


def try_all(subject: Subject, experiments: Iterable[Experiment]) -> Iterator[Tried]:
    """Each experiment as soon as it is done."""
    for experiment in experiments:
        cost = experiment.cost_tokens(subject)
        subject.tell(f"{experiment.key} {experiment.claim}: {cost:,} tokens to feed")
        began = perf_counter()
        finding = experiment.measure(subject)
        told = {field.name: getattr(experiment, field.name) for field in fields(Claim)}
        yield Tried(**told, cost_tokens=cost, took_s=perf_counter() - began, finding=finding)


def recorded(subject: Subject, tried: Iterable[Tried]) -> LabRecord:
    """What was tried, beside what it was tried on."""
    return LabRecord(
        model=subject.model.name,
        engine=subject.model.engine,
        versions={"edge": __version__, **subject.model.versions},
        source=subject.source,
        passage_tokens=len(subject.passage),
        tried=tuple(tried),
    )
