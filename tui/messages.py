"""Every message of the UI: what work off its thread tells the screen, and what widgets ask of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from textual.message import Message

from edge.compare.result import Comparison
from edge.edits import Edit
from edge.insight.ablation import Agreement
from edge.insight.weights import InsightWeights
from edge.lab.run import ClaimResult
from edge.laws.result import LawResult
from edge.measure.overview import Overview
from edge.profile.record import Profile
from edge.tables import Table
from edge.timing import SublayerTiming
from edge.trace import Trace
from tui.options import Options
from tui.view_state import MeasuredRun, ModelSummary


class StateChange(Message):
    """A message that only changes the state of the screen, as `tui.state_changes.changed` says."""


@dataclass
class JobProgress(Message):
    """What the runner is at, in a few words; empty when it rests. A newer one replaces an unread older one."""

    work: str
    can_stop: bool = False

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, JobProgress)


@dataclass
class ModelLoaded(Message):
    """A model is ready; `weights` explain its traces, None where there is no checkpoint to read."""

    model: ModelSummary
    weights: InsightWeights | None


@dataclass
class Streaming(Message):
    """The tokens of the run under way, all of them. A newer one replaces an unread older one.

    Attributes:
        ttft_ms: Request to first token, tokenization included; None before it came.
        tokens_per_second: Since the first token; None before the second.
    """

    pieces: tuple[str, ...]
    prompt_length: int
    ttft_ms: float | None = None
    tokens_per_second: float | None = None

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Streaming)


@dataclass
class RunEnded(Message):
    """A run is over; its trace is whole, or reaches to where it was stopped."""

    trace: Trace


@dataclass
class TraceOpened(Message):
    """A saved trace was opened from a file."""

    trace: Trace
    path: Path


@dataclass
class FileWritten(Message):
    """A file was written; `is_trace` where it can be opened again."""

    path: Path
    is_trace: bool = False


@dataclass
class ModelExported(Message):
    """A model was exported; `parity` says how far it is from torch, `means` what that comes to in sentences."""

    folder: Path
    size: str
    parity: Table
    means: tuple[str, ...]


@dataclass
class OverviewMeasured(StateChange):
    """What is measured so far of the last trace, or of the one beside. A newer one replaces an unread older one."""

    overview: Overview
    is_compared: bool = False

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, OverviewMeasured) and message.is_compared == self.is_compared


@dataclass
class SurprisalMeasured(StateChange):
    """How little each token of a trace was expected, in bits."""

    bits: Float32[np.ndarray, " token"]
    is_compared: bool = False


@dataclass
class SublayersTimed(StateChange):
    """The sublayers of one decode step were timed; None where that was stopped."""

    timing: SublayerTiming | None
    is_compared: bool = False


@dataclass
class ComparedRunReady(Message):
    """A run to be seen beside the one that shows; None ends the comparison."""

    shown: MeasuredRun | None


@dataclass
class JobStopped(Message):
    """A job was stopped before it had found what it was for."""


@dataclass
class JobFailed(Message):
    """Something was refused, or broke; `text` says what happened and what to do."""

    title: str
    text: str


@dataclass
class CellChosen(StateChange):
    """A cell of the attention map: `token` reads `key`."""

    token: int
    key: int


@dataclass
class CellPointed(Message):
    """The mouse rests on a cell of the attention map, or left it. A newer one replaces an unread older one."""

    cell: tuple[int, int] | None

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, CellPointed)


@dataclass
class HeadChosen(StateChange):
    """One head of one layer."""

    layer: int
    head: int


@dataclass
class TokenChosen(StateChange):
    """One token of the text; `layer` too where the widget shows layers."""

    token: int
    layer: int | None = None


@dataclass
class LayerChosen(StateChange):
    """One layer."""

    layer: int


@dataclass
class NeuronChosen(StateChange):
    """One neuron of the chosen layer's FFN."""

    neuron: int


@dataclass
class OptionsChosen(Message):
    """How things are to be shown from now on."""

    options: Options


class EditChange(Message):
    """A change of the active edits, as `tui.controllers.edits` does it."""


@dataclass
class EditToggled(EditChange):
    """One edit is to act in the run beside, or no longer; that run is made anew."""

    edit: Edit


@dataclass
class EditsCleared(EditChange):
    """No edit is to act any more."""


@dataclass
class EditIsolated(EditChange):
    """The effect of one edit is to show by itself, or with None that of all."""

    edit: Edit | None


@dataclass
class PaneChosen(Message):
    """One pane, by the name of its tab."""

    pane: str


@dataclass
class NeuronsAblated(StateChange):
    """Neurons were ablated at a token of a run, and compared with the tokens they promote."""

    trace: Trace
    agreement: Agreement


@dataclass
class EnginesTimed(StateChange):
    """Engines were timed in turns."""

    profile: Profile


@dataclass
class ClaimsQueued(StateChange):
    """Keys of the claims that are queued, the running one first; none once the job ended."""

    keys: tuple[str, ...]


@dataclass
class ClaimTested(StateChange):
    """One claim was tested."""

    result: ClaimResult


@dataclass
class EnginesCompared(StateChange):
    """Engines were compared site by site."""

    comparison: Comparison


@dataclass
class LawsQueued(StateChange):
    """Laws that are wanted, by number, the one under way first; none once all were checked or that ended."""

    numbers: tuple[int, ...]


@dataclass
class LawChecked(StateChange):
    """One law was checked on an engine."""

    engine: str
    result: LawResult
