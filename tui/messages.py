"""All messages of the UI: from jobs to the screen, and from widgets to the screen."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from textual.message import Message

from edge.change import Edit
from edge.compare.result import Comparison
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
    """Progress of the current job; empty when idle. A newer one replaces an unread older one."""

    work: str
    can_stop: bool = False

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, JobProgress)


@dataclass
class ModelLoaded(Message):
    """A model is loaded; `weights` is None if it has no checkpoint."""

    model: ModelSummary
    weights: InsightWeights | None


@dataclass
class Streaming(Message):
    """All tokens of the run in progress. A newer message replaces an unread older one.

    Attributes:
        ttft_ms: Request to first token, with tokenization; None before it.
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
    """A run is done; its trace ends early if it was stopped."""

    trace: Trace


@dataclass
class TraceOpened(Message):
    """A saved trace was opened."""

    trace: Trace
    path: Path


@dataclass
class FileWritten(Message):
    """A file was written; `is_trace` where it can be opened again."""

    path: Path
    is_trace: bool = False


@dataclass
class ModelExported(Message):
    """A model was exported; `parity` is its difference from torch, `means` a summary in sentences."""

    folder: Path
    size: str
    parity: Table
    means: tuple[str, ...]


@dataclass
class OverviewMeasured(StateChange):
    """Measurements so far of the current or the comparison run. A newer one replaces an unread older one."""

    overview: Overview
    is_compared: bool = False

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, OverviewMeasured) and message.is_compared == self.is_compared


@dataclass
class SurprisalMeasured(StateChange):
    """Surprisal of each token of a trace, in bits."""

    bits: Float32[np.ndarray, " token"]
    is_compared: bool = False


@dataclass
class SublayersTimed(StateChange):
    """The sublayers of one decode step were timed; None if that was stopped."""

    timing: SublayerTiming | None
    is_compared: bool = False


@dataclass
class ComparedRunReady(Message):
    """A comparison run is ready; None ends the comparison."""

    shown: MeasuredRun | None


@dataclass
class JobStopped(Message):
    """A job was stopped before it had a result."""


@dataclass
class JobFailed(Message):
    """A job failed; `text` has the reason and what to do."""

    title: str
    text: str


@dataclass
class CellChosen(StateChange):
    """A cell of the attention map was chosen: query `token`, key `key`."""

    token: int
    key: int


@dataclass
class CellPointed(Message):
    """The mouse is over a cell of the attention map, or left it. A newer one replaces an unread older one."""

    cell: tuple[int, int] | None

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, CellPointed)


@dataclass
class HeadChosen(StateChange):
    """A head was chosen."""

    layer: int
    head: int


@dataclass
class TokenChosen(StateChange):
    """A token was chosen; with its layer if the widget shows layers."""

    token: int
    layer: int | None = None


@dataclass
class LayerChosen(StateChange):
    """A layer was chosen."""

    layer: int


@dataclass
class NeuronChosen(StateChange):
    """A neuron of the chosen layer's FFN was chosen."""

    neuron: int


@dataclass
class ExpertChosen(StateChange):
    """An expert of the chosen layer's FFN was chosen; with a token if the widget shows tokens."""

    expert: int
    token: int | None = None


@dataclass
class OptionsChosen(Message):
    """The display options were changed."""

    options: Options


class EditChange(Message):
    """A change of the active edits, as `tui.controllers.edits` does it."""


@dataclass
class EditToggled(EditChange):
    """One edit was added or removed; the comparison run is run again."""

    edit: Edit


@dataclass
class EditsCleared(EditChange):
    """All edits were removed."""


@dataclass
class EditIsolated(EditChange):
    """One edit is to be applied alone; with None, all of them."""

    edit: Edit | None


@dataclass
class PaneChosen(Message):
    """A pane was chosen, by its name."""

    pane: str


@dataclass
class NeuronsAblated(StateChange):
    """Neurons were ablated at a token of a run, and compared with the tokens they promote."""

    trace: Trace
    agreement: Agreement


@dataclass
class EnginesTimed(StateChange):
    """Engines were timed in interleaved rounds."""

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
    """Numbers of laws still to check, the running one first; empty at the end."""

    numbers: tuple[int, ...]


@dataclass
class LawChecked(StateChange):
    """One law was checked on an engine."""

    engine: str
    result: LawResult
