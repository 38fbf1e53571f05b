"""Every message of the UI: what a run tells the screen, and what widgets ask of it."""

from dataclasses import dataclass

from textual.message import Message

from edge.measure.overview import Overview
from edge.timing import SublayerTiming
from edge.trace import Trace
from models.spec import DecoderSpec


@dataclass(frozen=True)
class Facts:
    """What is known of a loaded model.

    Attributes:
        parameters: Numbers in all parameters.
        threads: Threads the engine computes with; None in a saved trace.
        reads_text: It has a tokenizer; without one, prompts are ids.
    """

    name: str
    engine: str
    spec: DecoderSpec
    parameters: int
    threads: int | None
    reads_text: bool


@dataclass
class Doing(Message):
    """What the runner is at, in a few words; empty when it rests. A newer one replaces an unread older one."""

    work: str
    can_stop: bool = False

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Doing)


@dataclass
class Loaded(Message):
    """A model is ready."""

    facts: Facts


@dataclass
class Streaming(Message):
    """The tokens of the run under way, all of them. A newer one replaces an unread older one."""

    pieces: tuple[str, ...]
    prompt_length: int

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Streaming)


@dataclass
class Ended(Message):
    """A run is over; its trace is whole, or reaches to where it was stopped."""

    trace: Trace


@dataclass
class Surveyed(Message):
    """What is measured so far of the last trace. A newer one replaces an unread older one."""

    overview: Overview

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Surveyed)


@dataclass
class Timed(Message):
    """The sublayers of one decode step were timed; None where that was stopped."""

    timing: SublayerTiming | None


@dataclass
class Failed(Message):
    """Something was refused, or broke; `text` says what happened and what to do."""

    title: str
    text: str


@dataclass
class CellChosen(Message):
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
class HeadChosen(Message):
    """One head of one layer."""

    layer: int
    head: int


@dataclass
class TokenChosen(Message):
    """One token of the text; `layer` too where the widget shows layers."""

    token: int
    layer: int | None = None


@dataclass
class LayerChosen(Message):
    """One layer."""

    layer: int


@dataclass
class PaneChosen(Message):
    """One pane, by the name of its tab."""

    pane: str
