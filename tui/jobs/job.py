"""Jobs, and their context: the open models, and the messages to the screen."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Protocol, runtime_checkable

from textual.message import Message

from edge.change import Edit
from edge.insight.weights import InsightWeights
from edge.lab.context import LabContext
from edge.sampling import Sampling
from edge.session import OnToken
from edge.timing import SublayerTiming
from edge.trace import Trace
from edge.watch import Watch
from models.checkpoint import Checkpoint
from models.errors import MisuseError
from models.progress import Progress
from models.spec import DecoderSpec
from tui.messages import JobProgress

OPEN_AT_ONCE = 2
"""Models that stay loaded: the current one, and the last one it was compared with."""


@runtime_checkable
class Tokenizer(Protocol):
    """What the UI needs of a tokenizer."""

    def encode(self, text: str) -> list[int]: ...

    def piece(self, id: int) -> str: ...


@runtime_checkable
class RunnableModel(Protocol):
    """What the UI needs of a model; `edge.Model` is one."""

    engine: str
    threads: int

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> DecoderSpec: ...

    @property
    def checkpoint(self) -> Checkpoint | None: ...

    @property
    def tokenizer(self) -> Tokenizer | None: ...

    def run(
        self,
        prompt: str | None = None,
        *,
        ids: list[int] | None = None,
        max_new_tokens: int = 64,
        watch: Watch | None = None,
        sampling: Sampling | None = None,
        edits: tuple[Edit, ...] = (),
        on_token: OnToken | None = None,
    ) -> Trace: ...

    def time_sublayers(self, ids: list[int], *, tokens: int = 1, repeats: int = 30) -> SublayerTiming | None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


OpenModel = Callable[[str, str, Progress], RunnableModel]
"""Opens a model by the user's name for it, on an engine."""


@dataclass(frozen=True)
class ModelOnEngine:
    """A model on an engine, both as the user names them."""

    model: str
    engine: str


class JobInterrupted(Exception):
    """The job was stopped or replaced; raised where it reports progress."""


def _weights_of(model: RunnableModel) -> InsightWeights | None:
    """In the precision that the engine computes with."""
    if model.checkpoint is None:
        return None
    reader = model.tokenizer
    return InsightWeights(model.checkpoint, reader.piece if reader else "<{}>".format)


@dataclass
class JobContext:
    """What jobs share. Used on the runner's thread, except `interrupted` and `overtaken`.

    Attributes:
        post: Posts a message to the screen; may be called from any thread.
        at: The current model; None before the first is loaded.
        interrupted: Set when the user stops the job or starts another.
        overtaken: Set when another job waits, so that the results of this one are not needed.
        explained: The weights of each open model, read once and kept as long as it is open.
        lab: What the lab has read with the current model; None before it was opened, or with another model.
    """

    open_model: OpenModel
    post: Callable[[Message], object]
    at: ModelOnEngine | None = None
    interrupted: Event = field(default_factory=Event)
    overtaken: Event = field(default_factory=Event)
    models: dict[ModelOnEngine, RunnableModel] = field(default_factory=dict)
    explained: dict[ModelOnEngine, InsightWeights | None] = field(default_factory=dict)
    lab: LabContext | None = None

    def report(self, work: str, can_stop: bool = False) -> None:
        """Reports progress, and whether escape stops the job."""
        self.post(JobProgress(work, can_stop))

    def check(self) -> None:
        """Ends the job here if it was stopped.

        Raises:
            JobInterrupted: it was stopped.
        """
        if self.interrupted.is_set() or self.overtaken.is_set():
            raise JobInterrupted

    def progress_as(self, prefix: str) -> Progress:
        """A callback for long work: reports each step, and ends the work if the job was stopped."""

        def report(text: str) -> None:
            self.check()
            self.report(f"{prefix}: {text}", can_stop=True)

        return report

    def model(self) -> RunnableModel:
        """The current model.

        Raises:
            MisuseError: there is none.
        """
        if self.at is None:
            raise MisuseError("no model is loaded, so nothing can run; choose one with 'o'")
        return self.models[self.at]

    def open(self, target: ModelOnEngine) -> RunnableModel:
        """A model on an engine, loaded if it is not open; the least recently used one is closed."""
        if target not in self.models:
            self.report(f"loading {target.model} on {target.engine}")
            opened = self.open_model(target.model, target.engine, self._loading(target))
            while len(self.models) >= OPEN_AT_ONCE:
                oldest = next(one for one in self.models if one != self.at)
                self.models.pop(oldest).close()
                self.explained.pop(oldest, None)
            self.models[target] = opened
        self.models[target] = self.models.pop(target)  # the last one used is the last one listed
        return self.models[target]

    def weights(self, target: ModelOnEngine) -> InsightWeights | None:
        """The weights of an open model; None if it has no checkpoint."""
        if target not in self.explained:
            self.explained[target] = _weights_of(self.models[target])
        return self.explained[target]

    def _loading(self, target: ModelOnEngine) -> Progress:
        return lambda text: self.report(f"loading {target.engine}: {text}")


@runtime_checkable
class Job(Protocol):
    """One job. It posts its results as messages; it raises `EdgeError` for bad input."""

    def work(self, context: JobContext) -> None:
        """Runs on the runner's thread."""


@dataclass
class JobRequested(Message):
    """A job is to start; the current one is stopped."""

    job: Job
