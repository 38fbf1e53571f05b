"""Testing claims on the current model, one after another."""

from dataclasses import dataclass

import edge
from edge.lab.claim import Experiment
from edge.lab.context import LabContext, max_passage_tokens
from edge.lab.run import run_all
from edge.watch import Watch
from models.errors import EdgeError, MisuseError
from models.spec import DecoderSpec
from tui.jobs.job import JobContext
from tui.messages import ClaimsQueued, ClaimTested

LEAST_TOKENS = 512
"""Fewest tokens of the bundled text. A claim then takes seconds; `edge lab` takes longer texts."""

TOKENS_A_FEATURE = 2.5
"""Tokens per feature of the residual stream: some claims fit linear maps, and need that many."""


def known_experiments() -> tuple[Experiment, ...]:
    """Every claim; imported on first use."""
    from edge.lab.registry import EXPERIMENTS

    return EXPERIMENTS


def read_tokens(spec: DecoderSpec) -> int:
    """Tokens of the text for a model: enough for every claim, where memory and the text allow it."""
    return min(max(LEAST_TOKENS, int(TOKENS_A_FEATURE * spec.d_model)), max_passage_tokens(spec))


def text_bytes(spec: DecoderSpec) -> int:
    """Memory for the text's activations, until another model is loaded."""
    return Watch(parts=None).cost_bytes(spec, read_tokens(spec))


@dataclass(frozen=True)
class RunClaimTests:
    """Tests claims. Results so far stay when it is stopped; an error in one claim does not stop the others."""

    experiments: tuple[Experiment, ...]

    def work(self, context: JobContext) -> None:
        keys = tuple(experiment.key for experiment in self.experiments)
        failures: list[str] = []
        context.post(ClaimsQueued(keys))
        try:
            lab = lab_of(context)
            for place, experiment in enumerate(self.experiments):
                context.post(ClaimsQueued(keys[place:]))
                try:
                    (result,) = run_all(lab, (experiment,))
                except EdgeError as error:
                    failures.append(f"{experiment.key}: {error}")
                    continue
                context.check()  # a pass that was stopped may be incomplete
                context.post(ClaimTested(result))
        finally:
            context.post(ClaimsQueued(()))
        if failures:
            raise EdgeError("\n".join(["these claims could not be tested:", *failures]))


def lab_of(context: JobContext) -> LabContext:
    """The current model with a text to read; the traces of the text are kept for the next claims.

    Raises:
        MisuseError: it has no tokenizer, or no weights.
    """
    model = context.model()
    if not isinstance(model, edge.Model):
        raise MisuseError(f"{model.name} has no weights to look at, so no claim can be tested on it; open a checkpoint")
    if context.lab is None or context.lab.model is not model:
        context.lab = LabContext(
            model, tokens=read_tokens(model.spec), progress=context.progress_as("lab"), check=context.check
        )
    return context.lab
