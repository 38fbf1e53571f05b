"""Everything that the screens show, as one frozen value: runs, measurements, selection, options."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from edge.ablated import Ablated, ablated
from edge.change import Edit
from edge.compare.result import Comparison
from edge.insight.ablation import Agreement
from edge.insight.weights import InsightWeights
from edge.lab.run import ClaimResult
from edge.laws.result import LawResult
from edge.measure.overview import Overview
from edge.picture.pieces import quote_piece
from edge.profile.record import Profile
from edge.timing import SublayerTiming
from edge.trace import Trace
from models.sites import layer_site
from models.spec import DecoderSpec
from tui.edit_names import edits_title
from tui.options import Options, Selection


@dataclass(frozen=True)
class ModelSummary:
    """Summary of a loaded model, or of the model of a saved trace.

    Attributes:
        source: The user's name for it: a folder, a bundled model, a hub id; empty for a saved trace.
        parameters: Number of parameters.
        threads: Threads of the engine; None for a saved trace.
        reads_text: Whether it has a tokenizer; without one, prompts are ids.
        stored: The precision of stored quantized weights, the only one they run in; empty for all others.
        types: The main types of a GGUF file, such as `Q4_K, Q6_K`; empty for all others.
    """

    source: str
    name: str
    engine: str
    spec: DecoderSpec
    parameters: int
    threads: int | None
    reads_text: bool
    stored: str = ""
    types: str = ""


@dataclass(frozen=True, eq=False)
class MeasuredRun:
    """One run, and its measurements so far.

    Attributes:
        name: Distinguishes the two runs on the screen: `onnx:int4`, `head 0.1 ablated`, `another prompt`.
        surprisal_bits: `-log2 p(token | previous tokens)`; NaN where it is not known.
        timing: Latency of its sublayers from a separate pass; None until they are timed.
        weights: The weights of its model; None for a saved trace.
        agreements: Measured promoted tokens of neurons, by layer and token.
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
        """A run without measurements."""
        overview = Overview.unknown(trace.spec.n_layers, trace.spec.n_heads, trace.n_fed)
        return cls(name, trace, overview, np.full(len(trace.tokens), np.nan, np.float32), None, weights)

    @property
    def title(self) -> str:
        """Its name, with its edits: the name of a file does not contain them."""
        return f"{self.name} ({', '.join(self.trace.edits)})" if self.trace.edits else self.name

    @property
    def is_scaled(self) -> bool:
        """Whether timed parts sum to more than the pass, so that sublayer times are scaled down."""
        return self.timing is not None and self.timing.coverage > 1

    def lacks(self, layer: int, *parts: str) -> str:
        """Why a site of a layer is missing; empty if none is."""
        if not self.trace.n_fed:
            return "no token was processed in this run"
        sites = (layer_site(layer, part) for part in parts)
        return next((f"'{site}' was not recorded in this run" for site in sites if site not in self.trace.sites), "")

    def quote(self, token: int) -> str:
        """A token in quotes, for titles."""
        return quote_piece(self.trace.pieces[token]) if token < len(self.trace.pieces) else "no token"


@dataclass(frozen=True, eq=False)
class ViewState:
    """The state of the main screen; every view draws its part of it.

    Attributes:
        model: The loaded model; None before there is one.
        main: The current run; None before the first.
        compared: The comparison run; None without one.
        edits: The active edits. They act in the comparison run, never in `main`; none where that is another
            engine, model, prompt or trace.
        alone: The only one of them that is applied; None where all are.
        profile: Engines timed in interleaved rounds; None until they are.
        comparison: Engines compared site by site; None until they are.
        claim_results: Results of the claims that were tested, by key.
        claims_queued: Keys of the claims that are queued, the running one first.
        laws: Results of checked laws, by number, for each engine.
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
        """Whether the current run can be run again with edits; a saved trace cannot."""
        return self.main is not None and self.model is not None and bool(self.model.source)

    @property
    def ablated(self) -> Ablated:
        """What the active edits ablate, and those of a saved run."""
        return ablated((*(self.main.trace.edits if self.main else ()), *self.edits))

    @property
    def run_edits(self) -> tuple[str, ...]:
        """Names of all edits: those of a saved run, and those of the comparison run."""
        compared = self.compared.trace.edits if self.compared is not None and self.edits else ()
        return (*(self.main.trace.edits if self.main else ()), *compared)

    @property
    def base_title(self) -> str:
        """The current run, in titles of a comparison with another."""
        return "the run without edits" if self.edits else "this run"

    @property
    def edits_title(self) -> str:
        """The applied edits: `head 3.5 ablated`, `all 3 edits`; empty without edits."""
        return edits_title(self.edits, self.alone) if self.edits else ""

    @property
    def without(self) -> str:
        """Suffix of titles of `main` while edits are active, since they do not act there."""
        return ", without edits" if self.edits else ""

    @property
    def shows_difference(self) -> bool:
        """Whether the comparison is drawn as a difference: the default with edits, since they change few cells."""
        return self.options.shows_difference != bool(self.edits)

    @property
    def step_ns(self) -> float | None:
        """Latency of one decode step of the current run; None where it was not timed."""
        return self.main.timing.total_ns if self.main and self.main.timing else None
