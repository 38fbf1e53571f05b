"""Runs a prompt on the current model: recorded, measured and timed; and comparison runs."""

from dataclasses import dataclass, replace
from time import monotonic

from edge.change import Edit
from edge.error_message import redact_in_reports
from edge.insight.predictions import read_surprisal
from edge.insight.weights import InsightWeights
from edge.measure.overview import survey
from edge.picture.units import show_bytes
from edge.sampling import Sampling
from edge.session import OnToken, Token
from edge.trace import Trace
from edge.watch import Watch
from models.errors import MisuseError
from models.sites import HEADS, INPUT, parts_of
from models.spec import DecoderSpec
from tui.jobs.job import JobContext, ModelOnEngine, RunnableModel
from tui.messages import ComparedRunReady, OverviewMeasured, RunEnded, Streaming, SublayersTimed, SurprisalMeasured
from tui.options import Options
from tui.view_state import MeasuredRun, ModelSummary

_UNUSED = (INPUT, HEADS)
"""Sites that no screen needs: a layer's input is the output of the layer before, and heads follow from values."""

WHOLE_BYTES = 512 * 10**6
"""Above this many bytes, activations are kept in half precision."""

POST_EVERY_S = 1 / 30
"""Seconds between messages: tokens may be generated faster than a terminal can draw."""

REPEATS = 20
"""Passes per latency: about a second for a small model."""


@dataclass(frozen=True)
class Prompt:
    """What to run: text, or ids separated by spaces or commas if the model has no tokenizer."""

    text: str
    max_new_tokens: int
    sampling: Sampling


def watch_for(spec: DecoderSpec, tokens: int) -> Watch:
    """Everything that the screens need, in half precision where it would take much memory."""
    whole = Watch(parts=tuple(part for part in parts_of(spec) if part not in _UNUSED))
    return whole if whole.cost_bytes(spec, tokens) <= WHOLE_BYTES else replace(whole, half=True)


def invitation(model: ModelSummary | None, options: Options) -> tuple[str, str]:
    """The placeholder of the prompt, and what a run will do and how much memory it takes."""
    example = "Once upon a time" if model is None or model.reads_text else "token ids, such as 1 5 2"
    cost = ""
    if model is not None:
        a_token = watch_for(model.spec, options.max_new_tokens).cost_bytes(model.spec, 1)
        cost = f" · recording takes {show_bytes(a_token)} per token"
    return f"type a prompt, such as: {example}", f"enter generates up to {options.plan}{cost}"


@dataclass(frozen=True)
class Run:
    """Runs a prompt on the current model, then measures and times it."""

    prompt: Prompt

    def work(self, context: JobContext) -> None:
        model = context.model()
        ids = _prompt_ids(model, self.prompt.text)
        context.report("running", can_stop=True)
        reads_text = model.tokenizer is not None  # then the run tokenizes: that is part of ttft
        trace = model.run(
            self.prompt.text if reads_text else None,
            ids=None if reads_text else ids,
            max_new_tokens=self.prompt.max_new_tokens,
            watch=watch_for(model.spec, min(len(ids) + self.prompt.max_new_tokens, model.spec.context)),
            sampling=self.prompt.sampling,
            on_token=_stream_tokens(context, model, ids),
        )
        if context.overtaken.is_set():
            return
        was_stopped = context.interrupted.is_set()
        context.interrupted.clear()  # a stopped run is measured too
        context.post(RunEnded(trace))
        measure(context, trace, context.weights(context.at) if context.at else None, False)
        timing = None
        if not was_stopped and not context.interrupted.is_set():
            context.report("timing each sublayer", can_stop=True)
            timing = model.time_sublayers(list(trace.tokens[: trace.n_fed]), tokens=1, repeats=REPEATS)
        if not context.overtaken.is_set():
            context.post(SublayersTimed(timing))


@dataclass(frozen=True)
class RunComparison:
    """The comparison run: the same ids on another engine or model or with edits, or another prompt.

    Attributes:
        name: Its name on the screen.
        ids: Tokens to process; None where a prompt is run.
    """

    name: str
    target: ModelOnEngine
    ids: tuple[int, ...] | None = None
    prompt: Prompt | None = None
    edits: tuple[Edit, ...] = ()

    def work(self, context: JobContext) -> None:
        model = context.open(self.target)
        text = self.prompt.text if self.prompt else ""
        ids = list(self.ids) if self.ids is not None else _prompt_ids(model, text)
        tokens = self.prompt.max_new_tokens if self.prompt else 0
        reads_text = self.ids is None and model.tokenizer is not None
        context.report(f"running {self.name}", can_stop=True)
        trace = model.run(
            text if reads_text else None,
            ids=None if reads_text else ids,
            max_new_tokens=tokens,
            watch=watch_for(model.spec, len(ids) + tokens),
            sampling=self.prompt.sampling if self.prompt else None,
            edits=self.edits,
            on_token=lambda token: model.stop() if context.interrupted.is_set() else None,
        )
        context.check()
        weights = context.weights(self.target)
        context.post(ComparedRunReady(MeasuredRun.of(self.name, trace, weights)))
        measure(context, trace, weights, True)
        if not self.edits and self.ids is not None:
            context.report(f"timing each sublayer on {self.name}", can_stop=True)
            timing = model.time_sublayers(list(trace.tokens[: trace.n_fed]), tokens=1, repeats=REPEATS)
            if not context.overtaken.is_set():
                context.post(SublayersTimed(timing, is_compared=True))


def measure(context: JobContext, trace: Trace, weights: InsightWeights | None, is_compared: bool) -> None:
    """Measures a trace, and posts every part of the result."""
    context.report("measuring", can_stop=True)
    for overview in survey(trace):
        context.check()
        context.post(OverviewMeasured(overview, is_compared))
    if weights is not None:
        context.post(SurprisalMeasured(read_surprisal(trace, weights), is_compared))


def _stream_tokens(context: JobContext, model: RunnableModel, ids: list[int]) -> OnToken:
    reader = model.tokenizer
    pieces = [reader.piece(id) if reader else f"<{id}>" for id in ids]
    context.post(Streaming(tuple(pieces), len(ids)))
    began_s = posted_s = monotonic()
    first_s: float | None = None

    def report(token: Token) -> None:
        nonlocal posted_s, first_s
        pieces.append(token.piece)
        now_s = monotonic()
        first_s = now_s if first_s is None else first_s
        if context.interrupted.is_set():
            model.stop()
        elif now_s - posted_s >= POST_EVERY_S:
            posted_s = now_s
            made = len(pieces) - len(ids) - 1
            rate = made / (now_s - first_s) if made and now_s > first_s else None
            context.post(Streaming(tuple(pieces), len(ids), (first_s - began_s) * 1e3, rate))

    return report


def _prompt_ids(model: RunnableModel, text: str) -> list[int]:
    redact_in_reports(text)
    if model.tokenizer is not None:
        if not text:
            raise MisuseError("the prompt is empty; type some text and press enter")
        return model.tokenizer.encode(text)
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise MisuseError(f"{model.name} has no tokenizer, so a prompt is ids such as '1 5 2', not '{text}'") from error
