"""The current model, its runs, and the comparison run: starts jobs and stores what they return."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.engines.choice import elsewhere, engine_of
from edge.insight.weights import InsightWeights
from edge.trace import Trace
from models.spec import DecoderSpec
from tui import messages
from tui.comparison_request import ComparisonRequest
from tui.controllers.preferences import Preferences
from tui.controllers.state_screen import StateScreen
from tui.jobs.job import Job, JobRequested, ModelOnEngine
from tui.jobs.load import Load, summary_of_trace
from tui.jobs.open_trace import MeasureTrace
from tui.jobs.run import Prompt, Run, RunComparison
from tui.options import Options, clamp, strongest_key, suited
from tui.runner import Runner
from tui.screens.error import ErrorScreen
from tui.view_state import MeasuredRun, ModelSummary

NO_COMPARISON: dict[str, Any] = {"compared": None, "edits": (), "alone": None}
"""Fields of a state without a comparison run."""


class Session:
    """Starts jobs, and stores their results in the state of the screen.

    Attributes:
        target: The current model; None before one is loaded, as for a saved trace.
        loaded: Its summary once it is loaded; `state.model` may be that of a saved trace instead.
        comparison: The comparison run; None without one.
        prompt: The prompt of the last run; None before the first.
    """

    def __init__(
        self, screen: StateScreen, runner: Runner, preferences: Preferences, target: ModelOnEngine | None
    ) -> None:
        self._screen, self._runner, self._preferences, self.target = screen, runner, preferences, target
        self.loaded: ModelSummary | None = None
        self.comparison: ComparisonRequest | None = None
        self.prompt: Prompt | None = None
        self._weights: InsightWeights | None = None

    def do(self, job: Job) -> None:
        """Starts a job; the current one is stopped."""
        self._screen.post_message(JobRequested(job))

    def start(self, job: Job) -> None:
        """Hands a requested job to the runner."""
        if not isinstance(job, (Load, Run, RunComparison)):
            self.end_waiting("another job was started before the run with them was done")
        self._runner.do(job)

    def end_waiting(self, why: str) -> None:
        """Clears edits whose run is not done and was given up."""
        if self._screen.state.compared is None:
            self.drop_edits(why)

    def show_error(self, title: str, text: str) -> None:
        """Shows an error in a dialog."""
        self._screen.app.push_screen(ErrorScreen(title, text))

    def load_engine(self, engines: tuple[str, ...], engine: str | None = None) -> None:
        """Loads the next of `engines` in the same precision, or `engine`, and runs the last prompt again on it."""
        if self.target is not None and engines:
            now = engine_of(self.target.engine).name
            at = engines.index(now) + 1 if now in engines else 0
            following = elsewhere(self.target.engine, engines[at % len(engines)])
            self.do(Load(replace(self.target, engine=engine or following)))

    # ---- models and saved traces ------------------------------------------------------------------------

    def model_loaded(self, message: messages.ModelLoaded) -> None:
        """Shows a model that was loaded; runs the last prompt on it."""
        state, model = self._screen.state, message.model
        was = state.model
        same_model = was is not None and was.source == model.source
        state = replace(state, model=model, options=self._suited_to(model.spec), claim_results={})
        if not same_model:
            self.drop_edits(f"these edits were for {was.name}" if was is not None else "")
            self.comparison = None
            state = replace(state, **NO_COMPARISON, main=None, profile=None, comparison=None, laws={})
        self.target = ModelOnEngine(model.source, model.engine)
        self._weights, self.loaded = message.weights, model
        self._screen.state = state
        folder = Path(model.source).expanduser()
        self._preferences.keep_model(str(folder.absolute()) if folder.is_dir() else model.source)
        if self.prompt is not None and (same_model or model.reads_text):
            self.do(Run(self.prompt))

    def show_saved(self, trace: Trace) -> None:
        """Shows a saved trace, which needs no engine; a loaded model stays loaded."""
        self.drop_edits("a saved trace is shown, and it cannot be run again")
        self.comparison = None
        model, shown = summary_of_trace(trace), self._suited_to(trace.spec)
        self._screen.state = replace(
            self._screen.state,
            **NO_COMPARISON,
            model=model,
            options=shown,
            profile=None,
            comparison=None,
            claim_results={},
        )
        self._show(MeasuredRun.of(trace.engine, trace, None))
        self.do(MeasureTrace(trace))

    def _suited_to(self, spec: DecoderSpec) -> Options:
        """The options for a model: the chosen measure of sparsity, or one that fits its activation functions."""
        return suited(replace(self._screen.state.options, sparsity=self._preferences.stored.sparsity), spec)

    # ---- the current run --------------------------------------------------------------------------------

    def run_text(self, text: str) -> None:
        """Runs a prompt on the current model."""
        options = self._screen.state.options
        self.prompt = Prompt(text, options.max_new_tokens, options.sampling)
        self.do(Run(self.prompt))

    def run_ended(self, trace: Trace) -> None:
        """Shows a run."""
        state = self._screen.state
        if self.loaded is not None and state.model is not self.loaded:  # a saved trace was shown
            self._screen.state = replace(state, **NO_COMPARISON, model=self.loaded, main=None)
        self._show(MeasuredRun.of(trace.engine, trace, self._weights))

    def _show(self, shown: MeasuredRun) -> None:
        """Shows a run: chooses its last token as query, and the key with the largest attention weight."""
        state, trace = self._screen.state, shown.trace
        is_first = state.main is None or state.main.trace.spec != trace.spec
        layer = trace.spec.n_layers // 2 if is_first else state.selection.layer
        last = clamp(replace(state.selection, layer=layer, token=trace.n_fed - 1), trace)
        chosen = replace(last, key=strongest_key(trace, last))
        keeps = self.comparison is not None and self.comparison.is_kept
        self._screen.state = replace(state, main=shown, compared=state.compared if keeps else None, selection=chosen)

    # ---- the comparison run -----------------------------------------------------------------------------

    def run_comparison(self, comparison: ComparisonRequest | None) -> None:
        """Starts a comparison run, and runs it again for every new prompt; None ends the comparison."""
        self.comparison, main = comparison, self._screen.state.main
        self._screen.state = replace(self._screen.state, **NO_COMPARISON)
        if comparison is not None and main is not None and (self.target is not None or comparison.saved is not None):
            self._screen.state = replace(self._screen.state, edits=comparison.edits, alone=comparison.alone)
            self.do(comparison.job(self.target, main.trace))

    def follow_run(self) -> None:
        """Starts the comparison run again once the current run is measured."""
        if self.comparison is not None and self._screen.state.compared is None:
            self.run_comparison(self.comparison)

    def comparison_ready(self, shown: MeasuredRun | None) -> None:
        """Shows the comparison run, unless another one was requested meanwhile; None ends the comparison."""
        if shown is None or (self.comparison is not None and self.comparison.matches(shown)):
            self._screen.state = replace(self._screen.state, compared=shown)

    def drop_edits(self, why: str) -> None:
        """Clears all edits and shows why; does nothing where none are active."""
        if edits := self._screen.state.edits:
            names = ", ".join(map(str, edits))
            self.run_comparison(None)
            self._screen.notify(f"{names}: {why}", title="edits cleared", markup=False)
