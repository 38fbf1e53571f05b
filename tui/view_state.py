"""Everything that the screens show, as one frozen value: runs, what was measured of them, and what is chosen."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from edge.ablated import Ablated, ablated
from edge.compare.result import Comparison
from edge.edits import Edit
from edge.insight.ablation import Agreement
from edge.insight.weights import InsightWeights
from edge.lab.run import ClaimResult
from edge.laws.result import LawResult
from edge.measure.overview import Overview
from edge.picture.pieces import quote_piece
from edge.profile.record import Profile
from edge.timing import Basis, SublayerTiming
from edge.trace import Trace
from models.sites import layer_site
from models.spec import DecoderSpec
from tui.edit_names import edits_title
from tui.options import Options, Selection


@dataclass(frozen=True)
class ModelSummary:
    """What is known of a loaded model, or of the model of a saved trace.

    Attributes:
        source: How users name it: a folder, a name of the zoo, an id of the hub; empty for a saved trace.
        parameters: Numbers in all parameters.
        threads: Threads the engine computes with; None in a saved trace.
        reads_text: It has a tokenizer; without one, prompts are ids.
        stored: The precision of weights that are stored in groups, the only one they run in; empty for all others.
    """

    source: str
    name: str
    engine: str
    spec: DecoderSpec
    parameters: int
    threads: int | None
    reads_text: bool
    stored: str = ""


@dataclass(frozen=True, eq=False)
class MeasuredRun:
    """One run, and what is known of it so far.

    Attributes:
        name: What tells it from the other run on the screen: `onnx:int4`, `head 0.1 ablated`, `another prompt`.
        surprise_bits: How little each token was expected; NaN where that is not known.
        timing: Its sublayers, timed apart; None until they are.
        weights: What explains it; None for a saved trace.
        agreements: What neurons were measured to promote, by layer and token.
    """

    name: str
    trace: Trace
    overview: Overview
    surprisal_bits: Float32[np.ndarray, " token"]
    timing: SublayerTiming | None = None
    weights: InsightWeights | None = None
    agreements: dict[tuple[int, int], Agreement] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, trace: Trace, weights: InsightWeights | None) -> "MeasuredRun":
        """A run of which nothing is measured yet."""
        overview = Overview.unknown(trace.spec.n_layers, trace.spec.n_heads, trace.n_fed)
        return cls(name, trace, overview, np.full(len(trace.tokens), np.nan, np.float32), None, weights)

    @property
    def told(self) -> str:
        """Its name, and the edits it was made with: a file's name says nothing of them."""
        return f"{self.name} ({', '.join(self.trace.edits)})" if self.trace.edits else self.name

    @property
    def is_slowed(self) -> bool:
        """Clocks slowed its timed pass so much that the times of its sublayers are scaled."""
        return self.timing is not None and self.timing.basis is Basis.CLOCKED

    def lacks(self, layer: int, *parts: str) -> str:
        """Why some site of a layer is not there, in words; empty where all are."""
        if not self.trace.n_fed:
            return "no token was fed in this run"
        sites = (layer_site(layer, part) for part in parts)
        return next((f"'{site}' was not watched in this run" for site in sites if site not in self.trace.sites), "")

    def quote(self, token: int) -> str:
        """A token as panes name it."""
        return quote_piece(self.trace.pieces[token]) if token < len(self.trace.pieces) else "no token"


@dataclass(frozen=True, eq=False)
class ViewState:
    """What there is to be seen; every screen draws its part of it.

    Attributes:
        facts: The loaded model; None before there is one.
        main: The last run; None before the first.
        beside: The run that it is compared with; None where nothing is.
        edits: Edits that are on. They act in the run beside, never in `main`; none where another engine, model, prompt
            or trace is beside.
        alone: The one of them that acts in the run beside by itself; None where all of them do.
        profile: Engines timed in turns; None until they are.
        comparison: Engines compared site by site; None until they are.
        claim_results: Results of the claims that were tested, by key.
        claims_queued: Keys of the claims that are queued, the running one first.
        laws: Laws that were checked, by number, for each engine.
        laws_queued: Numbers of the laws that are queued, the running one first.
    """

    selection: Selection = field(default_factory=Selection)
    options: Options = field(default_factory=Options)
    model: ModelSummary | None = None
    main: MeasuredRun | None = None
    compared: MeasuredRun | None = None
    edits: tuple[Edit, ...] = ()
    alone: Edit | None = None
    profile: Profile | None = None
    comparison: Comparison | None = None
    claim_results: dict[str, ClaimResult] = field(default_factory=dict)
    claims_queued: tuple[str, ...] = ()
    laws: dict[str, dict[int, LawResult]] = field(default_factory=dict)
    laws_queued: tuple[int, ...] = ()

    @property
    def can_run(self) -> bool:
        """The run that shows is of a model that is loaded, and can be made again with edits; a saved trace cannot."""
        return self.main is not None and self.model is not None and bool(self.model.source)

    @property
    def ablated(self) -> Ablated:
        """What the edits that are on ablate, and what those of a saved run did."""
        return ablated((*(self.main.trace.edits if self.main else ()), *self.edits))

    @property
    def run_edits(self) -> tuple[str, ...]:
        """Names of the edits behind what shows: those of a saved run, and those that act in the run beside."""
        compared = self.compared.trace.edits if self.compared is not None and self.edits else ()
        return (*(self.main.trace.edits if self.main else ()), *compared)

    @property
    def edits_title(self) -> str:
        """Whose effect the run beside shows: `head 3.5 ablated`, `all 3 edits`; empty without edits."""
        return edits_title(self.edits, self.alone) if self.edits else ""

    @property
    def without(self) -> str:
        """What stands behind a title of `main` while edits are on, which do not act there."""
        return ", no edit" if self.edits else ""

    @property
    def shows_difference(self) -> bool:
        """Maps beside are differences. Edits change few cells, so there the difference is what shows first."""
        return self.options.shows_difference != bool(self.edits)

    @property
    def step_ns(self) -> float | None:
        """What one decode step of the run that shows takes; None where it was not timed."""
        return self.main.timing.total_ns if self.main and self.main.timing else None
