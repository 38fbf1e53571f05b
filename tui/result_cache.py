"""What a view was told by the reader, kept by the place it is of, so that going back to a place shows it at once."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from textual.message import Message
from textual.widget import Widget

from edge.error_message import error_message

T = TypeVar("T")


@dataclass(frozen=True)
class Unavailable:
    """Something that could not be read; `text` says why."""

    text: str


@dataclass
class ResultReady(Message):
    """The reader is done with a place. The view that gets this keeps it with `keep` and draws again."""

    readings: "ResultCache[Any]"
    place: Hashable
    found: object
    run: int

    def keep(self) -> None:
        """Puts what was found where it was asked for."""
        self.readings.take(self)


class ResultCache(Generic[T]):
    """Readings of one kind, asked for when they are first wanted; those of a run that is gone are dropped."""

    def __init__(self, kind: str, asker: Widget, kept: int = 256) -> None:
        self._kind, self._asker, self._kept = kind, asker, kept
        self._found: OrderedDict[Hashable, T | Unavailable] = OrderedDict()
        self._asked: Hashable = None
        self._run = 0

    def at(self, place: Hashable, read: Callable[[], T]) -> T | Unavailable | None:
        """What `read` gives for this place; None while it is awaited, and then a `ResultReady` comes to the asker."""
        if place in self._found:
            self._found.move_to_end(place)
            return self._found[place]
        if place != self._asked:
            self._asked, run = place, self._run
            reader = self._asker.screen.reader  # type: ignore[attr-defined]
            reader.ask(self._kind, lambda: ResultReady(self, place, _told(read), run), self._asker)
        return None

    def take(self, message: ResultReady) -> None:
        """Keeps what was read, unless it is of a run that is gone."""
        if message.run != self._run:
            return
        self._found[message.place] = message.found  # type: ignore[assignment]
        if message.place == self._asked:
            self._asked = None
        while len(self._found) > self._kept:
            self._found.popitem(last=False)

    def forget(self) -> None:
        """Begins anew: what comes of earlier wishes is dropped."""
        self._found.clear()
        self._asked, self._run = None, self._run + 1


def _told(read: Callable[[], T]) -> T | Unavailable:
    try:
        return read()
    except BaseException as error:  # told where the reading would have shown, and asked for no more
        return Unavailable(error_message(error, "a reading of weights").message)
