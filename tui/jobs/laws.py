"""Checks laws on the current model, one after another."""

from dataclasses import dataclass

import edge
from edge.laws.case import Case
from edge.laws.registry import LAWS
from models.errors import MisuseError
from models.sample_text import SAMPLE_TEXT
from tui.jobs.job import JobContext
from tui.messages import LawChecked, LawsQueued

CHECKING = "checking laws"
"""Prefix of its progress messages."""


@dataclass(frozen=True)
class CheckLaws:
    """Checks laws. Results stay when it is stopped.

    Attributes:
        numbers: Laws that need one model only.
        ids: The tokens of the current run; None checks on the bundled text.
    """

    numbers: tuple[int, ...]
    ids: tuple[int, ...] | None

    def work(self, context: JobContext) -> None:
        model, wanted = context.model(), [law for law in LAWS if law.number in self.numbers]
        if not isinstance(model, edge.Model):
            raise MisuseError(f"{model.name} has no weights, so no law can be checked; open a checkpoint")
        try:
            case = Case(model, self.ids or _own_ids(model), context.progress_as(CHECKING))
            for place, law in enumerate(wanted):
                context.post(LawsQueued(tuple(one.number for one in wanted[place:])))
                case.progress = context.progress_as(f"{CHECKING}: {law.number}")
                if law.check is not None:
                    found = law.check(case)
                    context.check()  # a pass that was stopped may be incomplete
                    context.post(LawChecked(model.engine, found))
        finally:
            context.post(LawsQueued(()))


def _own_ids(model: edge.Model) -> tuple[int, ...]:
    if model.tokenizer is None:
        raise MisuseError(f"{model.name} has no tokenizer to encode a text to check laws on; run token ids first")
    return tuple(model.tokenizer.encode(SAMPLE_TEXT))
