"""Checking laws on the model at hand, one after another."""

from dataclasses import dataclass

import edge
from edge.laws.case import Case
from edge.laws.registry import LAWS
from models.errors import MisuseError
from models.sample_text import SAMPLE_TEXT
from tui.jobs.job import JobContext
from tui.messages import LawChecked, LawsQueued

CHECKING = "checking laws"
"""How the job is told of while it works."""


@dataclass(frozen=True)
class CheckLaws:
    """Checks laws. What was found stays found when it is stopped.

    Attributes:
        numbers: Of laws that one model alone can be checked on.
        ids: The tokens that show; None checks on Edge's own text.
    """

    numbers: tuple[int, ...]
    ids: tuple[int, ...] | None

    def work(self, context: JobContext) -> None:
        model, wanted = context.model(), [law for law in LAWS if law.number in self.numbers]
        if not isinstance(model, edge.Model):
            raise MisuseError(f"{model.name} has no weights to look at, so no law can be checked; open a checkpoint")
        try:
            case = Case(model, self.ids or _own_ids(model), context.progress_as(CHECKING))
            for place, law in enumerate(wanted):
                context.post(LawsQueued(tuple(one.number for one in wanted[place:])))
                case.tell = context.progress_as(f"{CHECKING}: {law.number}")
                if law.check is not None:
                    found = law.check(case)
                    context.check()  # a pass that was stopped may have shown half of what it should
                    context.post(LawChecked(model.engine, found))
        finally:
            context.post(LawsQueued(()))


def _own_ids(model: edge.Model) -> tuple[int, ...]:
    if model.tokenizer is None:
        raise MisuseError(f"{model.name} has no tokenizer, so there is no text to check laws on; run some ids first")
    return tuple(model.tokenizer.encode(SAMPLE_TEXT))
