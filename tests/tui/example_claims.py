"""Claims made up for the lab on the screen: some hold, some last, some break."""

from collections.abc import Callable
from threading import Event

from edge.lab.claim import Experiment, Finding, shared_passage_only
from edge.lab.context import LabContext
from models.errors import EdgeError
from tests.edge.report.example_lab import made_finding


def experiment(key: str, measure: Callable[[LabContext], Finding]) -> Experiment:
    return Experiment(
        key=key,
        title=f"claim {key}",
        question=f"is {key} so?",
        method=f"how {key}",
        rule=f"rule {key}",
        source=f"source {key}",
        cost_tokens=shared_passage_only,
        measure=measure,
    )


def passing_claim(key: str, tested: list[str] | None = None) -> Experiment:
    """One that finds everything there is to find at once."""

    def measure(lab: LabContext) -> Finding:
        if tested is not None:
            tested.append(key)
        return made_finding()

    return experiment(key, measure)


def endless_claim(key: str, is_under_way: Event) -> Experiment:
    """One that runs until it is stopped."""

    def measure(lab: LabContext) -> Finding:
        is_under_way.set()
        while True:
            lab.check()

    return experiment(key, measure)


def failing_claim(key: str) -> Experiment:
    def measure(lab: LabContext) -> Finding:
        raise EdgeError(f"{key} cannot be measured here; do something else")

    return experiment(key, measure)
