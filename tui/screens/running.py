"""Running jobs: the screen starts them, and stores their results in its state."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge.edits import Edit
from edge.insight.weights import InsightWeights
from edge.trace import Trace
from models.errors import MisuseError
from models.spec import DecoderSpec
from tui import messages
from tui.edit_names import edits_title
from tui.jobs.job import Job, JobRequested, ModelOnEngine
from tui.jobs.load import Load
from tui.jobs.open_trace import OpenTraceForComparison
from tui.jobs.run import Prompt, Run, RunComparison
from tui.options import Options, clamp, strongest_key, suited
from tui.runner import Runner
from tui.screens.choosing import ChoosingScreen
from tui.screens.error import ErrorScreen
from tui.view_state import MeasuredRun, ModelSummary


@dataclass(frozen=True)
class Companion:
    """The comparison run: what the current run is compared with. It is run again after every change.

    Attributes:
        place: Another model or engine; the current one where None.
        prompt: Another prompt; the same tokens where None.
        edits: The active edits.
        alone: The only one of them that is applied; None where all are.
        saved: The file of a saved trace.
    """

    name: str
    place: ModelOnEngine | None = None
    prompt: Prompt | None = None
    edits: tuple[Edit, ...] = ()
    alone: Edit | None = None
    saved: Path | None = None

    @classmethod
    def of_edits(cls, edits: tuple[Edit, ...], alone: Edit | None = None) -> "Companion | None":
        """The same tokens with edits; None without any."""
        return cls(edits_title(edits, alone), edits=edits, alone=alone) if edits else None

    @property
    def acting(self) -> tuple[Edit, ...]:
        """The edits that are applied in this run."""
        return self.edits if self.alone is None else (self.alone,)

    def made(self, shown: MeasuredRun) -> bool:
        """Whether a run is the one of this request, and not of an earlier one."""
        return shown.name == self.name and (self.saved is not None or shown.trace.edits == tuple(map(str, self.acting)))

    @property
    def stays(self) -> bool:
        """Whether it stays the same when the current run changes."""
        return self.prompt is not None or self.saved is not None

    def job(self, at: ModelOnEngine | None, trace: Trace) -> Job:
        """The job that runs it."""
        if self.saved is not None:
            return OpenTraceForComparison(self.saved, trace)
        if at is None:
            raise MisuseError("no model is loaded, so there is nothing to compare with; open one with 'o'")
        ids = None if self.prompt else trace.tokens[: trace.n_fed]
        return RunComparison(self.name, self.place or at, ids, self.prompt, self.acting)


NO_COMPARISON: dict[str, Any] = {"compared": None, "edits": (), "alone": None}
"""Fields of a state without a comparison run."""


class RunningScreen(ChoosingScreen):
    """Starts jobs, and stores their results in the state.

    Attributes:
        place: The current model; None before one is loaded, as for a saved trace.
        loaded: Its summary once it is loaded; `state.model` may be that of a saved trace instead.
        progress: What the current job is doing; empty when idle.
    """

    def __init__(self, runner: Runner, place: ModelOnEngine | None) -> None:
        super().__init__()
        self.runner, self.place = runner, place
        self.loaded: ModelSummary | None = None
        self.weights: InsightWeights | None = None
        self.companion: Companion | None = None
        self.prompt: Prompt | None = None
        self.progress, self.can_stop = "", False

    def do(self, job: Job) -> None:
        """Starts a job; the current one is stopped."""
        self.post_message(JobRequested(job))

    def on_job_requested(self, message: JobRequested) -> None:
        if not isinstance(message.job, (Load, Run, RunComparison)):
            self._end_waiting("another job was started before the run with them was done")
        self.runner.do(message.job)

    def _end_waiting(self, why: str) -> None:
        """Clears edits whose run is not done and was given up."""
        if self.state.compared is None:
            self.drop_edits(why)

    def show_error(self, title: str, text: str) -> None:
        """Shows an error in a dialog."""
        self.app.push_screen(ErrorScreen(title, text))

    # ---- loading ----------------------------------------------------------------------------------------

    def suited_to(self, spec: DecoderSpec) -> Options:
        """The options for a model: a definition of sparsity that fits its activation functions."""
        return suited(self.state.options, spec)

    def on_model_loaded(self, message: messages.ModelLoaded) -> None:
        was, model = self.state.model, message.model
        same_model = was is not None and was.source == model.source
        state = replace(self.state, model=model, options=self.suited_to(model.spec), tried={})
        if not same_model:
            self.drop_edits(f"these edits were for {was.name}" if was is not None else "")
            self.companion = None
            state = replace(state, **NO_COMPARISON, main=None, profile=None, comparison=None, laws={})
        self.place = ModelOnEngine(model.source, model.engine)
        self.weights, self.loaded = message.weights, model
        self.state = state
        if self.prompt is not None and (same_model or model.reads_text):
            self.do(Run(self.prompt))

    # ---- one run ----------------------------------------------------------------------------------------

    def run_text(self, text: str) -> None:
        """Runs a prompt on the current model."""
        options = self.state.options
        self.prompt = Prompt(text, options.max_new_tokens, options.sampling)
        self.do(Run(self.prompt))

    def on_run_ended(self, message: messages.RunEnded) -> None:
        if self.loaded is not None and self.state.model is not self.loaded:  # a saved trace was shown
            self.state = replace(self.state, **NO_COMPARISON, model=self.loaded, main=None)
        self.take(MeasuredRun.of(message.trace.engine, message.trace, self.weights))

    def take(self, shown: MeasuredRun) -> None:
        """Shows a run: chooses its last token as query, and the key with the largest attention weight."""
        state, trace = self.state, shown.trace
        is_first = state.main is None or state.main.trace.spec != trace.spec
        layer = trace.spec.n_layers // 2 if is_first else state.selection.layer
        last = clamp(replace(state.selection, layer=layer, token=trace.n_fed - 1), trace)
        chosen = replace(last, key=strongest_key(trace, last))
        keeps = self.companion is not None and self.companion.stays
        self.state = replace(state, main=shown, compared=state.compared if keeps else None, selection=chosen)

    def on_overview_measured(self, message: messages.OverviewMeasured) -> None:
        self._know(message.is_compared, overview=message.overview)

    def on_surprisal_measured(self, message: messages.SurprisalMeasured) -> None:
        self._know(message.is_compared, surprisal_bits=message.bits)

    def on_sublayers_timed(self, message: messages.SublayersTimed) -> None:
        self._know(message.is_compared, timing=message.timing)
        if not message.is_compared and self.companion is not None and self.state.compared is None:
            self.run_comparison(self.companion)

    def on_neurons_ablated(self, message: messages.NeuronsAblated) -> None:
        main, found = self.state.main, message.agreement
        if main is not None and main.trace is message.trace:  # otherwise another run is shown by now
            self._know(False, agreements={**main.agreements, (found.layer, found.token): found})

    def _know(self, is_compared: bool, **found: object) -> None:
        """Stores a result of the current run, or of the comparison run."""
        of = self.state.compared if is_compared else self.state.main
        if of is not None:
            known: MeasuredRun = replace(of, **found)  # type: ignore[arg-type]
            self.state = replace(self.state, compared=known) if is_compared else replace(self.state, main=known)

    # ---- the comparison run -----------------------------------------------------------------------------

    def run_comparison(self, companion: Companion | None) -> None:
        """Starts a comparison run, and runs it again for every new prompt; None ends the comparison."""
        self.companion, main = companion, self.state.main
        self.state = replace(self.state, **NO_COMPARISON)
        if companion is not None and main is not None and (self.place is not None or companion.saved is not None):
            self.state = replace(self.state, edits=companion.edits, alone=companion.alone)
            self.do(companion.job(self.place, main.trace))

    def on_compared_run_ready(self, message: messages.ComparedRunReady) -> None:
        if message.shown is None or (self.companion is not None and self.companion.made(message.shown)):
            self.state = replace(self.state, compared=message.shown)

    # ---- edits ------------------------------------------------------------------------------------------

    def drop_edits(self, why: str) -> None:
        """Clears all edits and shows why; does nothing where none are active."""
        if edits := self.state.edits:
            names = ", ".join(map(str, edits))
            self.run_comparison(None)
            self.notify(f"{names}: {why}", title="edits cleared", markup=False)

    # ---- engines compared -------------------------------------------------------------------------------

    def on_engines_timed(self, message: messages.EnginesTimed) -> None:
        self.state = replace(self.state, profile=message.profile)

    def on_engines_compared(self, message: messages.EnginesCompared) -> None:
        self.state = replace(self.state, comparison=message.comparison)

    # ---- laws -------------------------------------------------------------------------------------------

    def on_laws_queued(self, message: messages.LawsQueued) -> None:
        self.state = replace(self.state, laws_queued=message.numbers)

    def on_law_checked(self, message: messages.LawChecked) -> None:
        known = self.state.laws
        own = {**known.get(message.engine, {}), message.result.number: message.result}
        self.state = replace(self.state, laws={**known, message.engine: own})

    # ---- the lab ----------------------------------------------------------------------------------------

    def on_claims_queued(self, message: messages.ClaimsQueued) -> None:
        self.state = replace(self.state, claims_queued=message.keys)

    def on_claim_tested(self, message: messages.ClaimTested) -> None:
        self.state = replace(self.state, tried={**self.state.tried, message.tried.key: message.tried})
