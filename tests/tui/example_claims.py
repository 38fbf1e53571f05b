"""Claims made up for the lab on the screen: some hold, some last, some break."""

from collections.abc import Callable
from threading import Event

from edge.lab.claim import Experiment, Finding, shared_passage_only
from edge.lab.subject import Subject
from models.errors import EdgeError
from tests.edge.report.example_lab import made_finding


def experiment(key: str, measure: Callable[[Subject], Finding]) -> Experiment:
    return Experiment(
        key=key,
        claim=f"claim {key}",
        asks=f"is {key} so?",
        how=f"how {key}",
        rule=f"rule {key}",
        source=f"source {key}",
        cost_tokens=shared_passage_only,
        measure=measure,
    )


def passing_claim(key: str, tried: list[str] | None = None) -> Experiment:
    """One that finds everything there is to find at once."""

    def measure(subject: Subject) -> Finding:
        if tried is not None:
            tried.append(key)
        return made_finding()

    return experiment(key, measure)


def endless_claim(key: str, is_under_way: Event) -> Experiment:
    """One that runs until it is stopped."""

    def measure(subject: Subject) -> Finding:
        is_under_way.set()
        while True:
            subject.check()

    return experiment(key, measure)


def failing_claim(key: str) -> Experiment:
    def measure(subject: Subject) -> Finding:
        raise EdgeError(f"{key} cannot be measured here; do something else")

    return experiment(key, measure)
