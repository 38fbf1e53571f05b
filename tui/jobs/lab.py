"""Trying claims of the lab on the model at hand, one after another."""

from dataclasses import dataclass

import edge
from edge.lab.claim import Experiment
from edge.lab.run import try_all
from edge.lab.subject import Subject, most_tokens
from edge.watch import Watch
from models.errors import EdgeError, MisuseError
from models.sites import PARTS
from models.spec import DecoderSpec
from tui.jobs.job import JobContext
from tui.messages import ClaimsQueued, ClaimTested

LEAST_TOKENS = 512
"""Of Edge's own text that are read: a claim takes seconds, and a command is there for whoever wants more."""

TOKENS_A_FEATURE = 2.5
"""Tokens for each feature of the residual stream: some claims fit maps, and fewer would leave them open."""


def known_experiments() -> tuple[Experiment, ...]:
    """Every claim; imported when it is first asked for, since most who open the UI never do."""
    from edge.lab.registry import EXPERIMENTS

    return EXPERIMENTS


def read_tokens(spec: DecoderSpec) -> int:
    """Tokens of the text that are read with a model: enough for every claim where memory and the text allow it."""
    return min(max(LEAST_TOKENS, int(TOKENS_A_FEATURE * spec.d_model)), most_tokens(spec))


def text_bytes(spec: DecoderSpec) -> int:
    """What the text holds once it is read, until another model is loaded."""
    return Watch(parts=tuple(PARTS)).cost_bytes(spec, read_tokens(spec))


@dataclass(frozen=True)
class RunClaimTests:
    """Tries claims. What was found stays found when it is stopped; a claim that breaks does not keep others back."""

    experiments: tuple[Experiment, ...]

    def work(self, context: JobContext) -> None:
        keys = tuple(experiment.key for experiment in self.experiments)
        broken: list[str] = []
        context.post(ClaimsQueued(keys))
        try:
            subject = subject_of(context)
            for place, experiment in enumerate(self.experiments):
                context.post(ClaimsQueued(keys[place:]))
                try:
                    (tried,) = try_all(subject, (experiment,))
                except EdgeError as error:
                    broken.append(f"{experiment.key}: {error}")
                    continue
                context.check()  # a pass that was stopped may have measured half of what it should
                context.post(ClaimTested(tried))
        finally:
            context.post(ClaimsQueued(()))
        if broken:
            raise EdgeError("\n".join(["these claims could not be tried:", *broken]))


def subject_of(context: JobContext) -> Subject:
    """The model at hand with a text to read; what it has read is kept for the next claims.

    Raises:
        MisuseError: it cannot read text, or is not a model of Edge's.
    """
    model = context.model()
    if not isinstance(model, edge.Model):
        raise MisuseError(f"{model.name} has no weights to look at, so no claim can be tried on it; open a checkpoint")
    if context.subject is None or context.subject.model is not model:
        context.subject = Subject(
            model, tokens=read_tokens(model.spec), progress=context.progress_as("lab"), check=context.check
        )
    return context.subject
