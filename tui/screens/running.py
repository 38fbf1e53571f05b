"""What runs behind a screen: jobs asked for, and what they tell as they go."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge.edits import Edit
from edge.insight.weights import Weights
from edge.trace import Trace
from models.errors import MisuseError
from models.spec import DecoderSpec
from tui import messages
from tui.editing import whose
from tui.jobs.job import Job, Place, Wanted
from tui.jobs.load import Load
from tui.jobs.reopen import ReopenBeside
from tui.jobs.run import Prompt, Run, RunBeside
from tui.options import Options, clamp, strongest_key, suited
from tui.runner import Runner
from tui.screens.choosing import ChoosingScreen
from tui.screens.trouble import TroubleScreen
from tui.view_state import Facts, Shown


@dataclass(frozen=True)
class Companion:
    """What runs beside the run that shows, each time anew.

    Attributes:
        place: Another model or engine; the one at hand where None.
        prompt: Other text; the same tokens where None.
        edits: Edits that are on.
        alone: The one of them that acts by itself; None where all act.
        saved: The file of a trace, which shows as it is.
    """

    name: str
    place: Place | None = None
    prompt: Prompt | None = None
    edits: tuple[Edit, ...] = ()
    alone: Edit | None = None
    saved: Path | None = None

    @classmethod
    def of_edits(cls, edits: tuple[Edit, ...], alone: Edit | None = None) -> "Companion | None":
        """The same tokens with edits; None without any."""
        return cls(whose(edits, alone), edits=edits, alone=alone) if edits else None

    @property
    def acting(self) -> tuple[Edit, ...]:
        """The edits that act in its run."""
        return self.edits if self.alone is None else (self.alone,)

    def made(self, shown: Shown) -> bool:
        """A run is its own, and not one that was wished for before it."""
        return shown.name == self.name and (self.saved is not None or shown.trace.edits == tuple(map(str, self.acting)))

    @property
    def stays(self) -> bool:
        """It is the same whatever shows."""
        return self.prompt is not None or self.saved is not None

    def job(self, at: Place | None, trace: Trace) -> Job:
        """The job that makes it."""
        if self.saved is not None:
            return ReopenBeside(self.saved, trace)
        if at is None:
            raise MisuseError("no model is loaded, so nothing can run beside; open one with 'o'")
        ids = None if self.prompt else trace.tokens[: trace.n_fed]
        return RunBeside(self.name, self.place or at, ids, self.prompt, self.acting)


NOTHING_BESIDE: dict[str, Any] = {"beside": None, "edits": (), "alone": None}
"""Of a state."""


class RunningScreen(ChoosingScreen):
    """Drives the runner, and puts what it tells into the state.

    Attributes:
        place: The model at hand; None before there is one, as on a saved trace.
        loaded: What is known of it once it is loaded; `state.facts` may be of a saved trace instead.
        doing: What the runner is at; empty when it rests.
    """

    def __init__(self, runner: Runner, place: Place | None) -> None:
        super().__init__()
        self.runner, self.place = runner, place
        self.loaded: Facts | None = None
        self.weights: Weights | None = None
        self.companion: Companion | None = None
        self.prompt: Prompt | None = None
        self.doing, self.can_stop = "", False

    def do(self, job: Job) -> None:
        """Hands a job to the runner."""
        self.post_message(Wanted(job))

    def on_wanted(self, message: Wanted) -> None:
        if not isinstance(message.job, (Load, Run, RunBeside)):
            self._end_waiting("something else was wanted before their run was done")
        self.runner.do(message.job)

    def _end_waiting(self, why: str) -> None:
        """Clears edits whose run has not come, and will not."""
        if self.state.beside is None:
            self.drop_edits(why)

    def trouble(self, title: str, text: str) -> None:
        """Says what went wrong, over the screen."""
        self.app.push_screen(TroubleScreen(title, text))

    # ---- loading ----------------------------------------------------------------------------------------

    def suited_to(self, spec: DecoderSpec) -> Options:
        """How a model is shown: by a definition of sparsity that says something of its FFNs."""
        return suited(self.state.options, spec)

    def on_loaded(self, message: messages.Loaded) -> None:
        was, facts = self.state.facts, message.facts
        same_model = was is not None and was.source == facts.source
        state = replace(self.state, facts=facts, options=self.suited_to(facts.spec), tried={})
        if not same_model:
            self.drop_edits(f"they were edits of {was.name}" if was is not None else "")
            self.companion = None
            state = replace(state, **NOTHING_BESIDE, main=None, profile=None, comparison=None, laws={})
        self.place = Place(facts.source, facts.engine)
        self.weights, self.loaded = message.weights, facts
        self.state = state
        if self.prompt is not None and (same_model or facts.reads_text):
            self.do(Run(self.prompt))

    # ---- one run ----------------------------------------------------------------------------------------

    def run_text(self, text: str) -> None:
        """Runs a prompt on the model at hand."""
        options = self.state.options
        self.prompt = Prompt(text, options.max_new_tokens, options.sampling)
        self.do(Run(self.prompt))

    def on_ended(self, message: messages.Ended) -> None:
        if self.loaded is not None and self.state.facts is not self.loaded:  # a saved trace showed
            self.state = replace(self.state, **NOTHING_BESIDE, facts=self.loaded, main=None)
        self.take(Shown.of(message.trace.engine, message.trace, self.weights))

    def take(self, shown: Shown) -> None:
        """Shows a run from its last token, which reads what it reads most."""
        state, trace = self.state, shown.trace
        is_first = state.main is None or state.main.trace.spec != trace.spec
        layer = trace.spec.n_layers // 2 if is_first else state.selection.layer
        last = clamp(replace(state.selection, layer=layer, token=trace.n_fed - 1), trace)
        chosen = replace(last, key=strongest_key(trace, last))
        keeps = self.companion is not None and self.companion.stays
        self.state = replace(state, main=shown, beside=state.beside if keeps else None, selection=chosen)

    def on_surveyed(self, message: messages.Surveyed) -> None:
        self._know(message.is_beside, overview=message.overview)

    def on_surprised(self, message: messages.Surprised) -> None:
        self._know(message.is_beside, surprise_bits=message.bits)

    def on_timed(self, message: messages.Timed) -> None:
        self._know(message.is_beside, timing=message.timing)
        if not message.is_beside and self.companion is not None and self.state.beside is None:
            self.run_beside(self.companion)

    def on_neurons_ablated(self, message: messages.NeuronsAblated) -> None:
        main, found = self.state.main, message.agreement
        if main is not None and main.trace is message.trace:  # otherwise another run shows by now
            self._know(False, agreements={**main.agreements, (found.layer, found.token): found})

    def _know(self, is_beside: bool, **found: object) -> None:
        """Keeps what was found of the run that shows, or of the one beside it."""
        of = self.state.beside if is_beside else self.state.main
        if of is not None:
            known: Shown = replace(of, **found)  # type: ignore[arg-type]
            self.state = replace(self.state, beside=known) if is_beside else replace(self.state, main=known)

    # ---- a second run -----------------------------------------------------------------------------------

    def run_beside(self, companion: Companion | None) -> None:
        """Runs something beside what shows, from now on; None ends that. What stood there is gone at once."""
        self.companion, main = companion, self.state.main
        self.state = replace(self.state, **NOTHING_BESIDE)
        if companion is not None and main is not None and (self.place is not None or companion.saved is not None):
            self.state = replace(self.state, edits=companion.edits, alone=companion.alone)
            self.do(companion.job(self.place, main.trace))

    def on_beside(self, message: messages.Beside) -> None:
        if message.shown is None or (self.companion is not None and self.companion.made(message.shown)):
            self.state = replace(self.state, beside=message.shown)

    # ---- edits ------------------------------------------------------------------------------------------

    def drop_edits(self, why: str) -> None:
        """Clears edits that cannot stay, and says why; nothing where none are on."""
        if edits := self.state.edits:
            names = ", ".join(map(str, edits))
            self.run_beside(None)
            self.notify(f"{names}: {why}", title="edits cleared", markup=False)

    # ---- engines beside each other ----------------------------------------------------------------------

    def on_profiled(self, message: messages.Profiled) -> None:
        self.state = replace(self.state, profile=message.profile)

    def on_engines_compared(self, message: messages.EnginesCompared) -> None:
        self.state = replace(self.state, comparison=message.comparison)

    # ---- laws -------------------------------------------------------------------------------------------

    def on_checking(self, message: messages.Checking) -> None:
        self.state = replace(self.state, checking=message.numbers)

    def on_law_checked(self, message: messages.LawChecked) -> None:
        known = self.state.laws
        own = {**known.get(message.engine, {}), message.result.number: message.result}
        self.state = replace(self.state, laws={**known, message.engine: own})

    # ---- the lab ----------------------------------------------------------------------------------------

    def on_trying(self, message: messages.Trying) -> None:
        self.state = replace(self.state, trying=message.keys)

    def on_claim_tried(self, message: messages.ClaimTried) -> None:
        self.state = replace(self.state, tried={**self.state.tried, message.tried.key: message.tried})
