"""Results of background requests, cached by place, so that going back to a place shows them at once."""

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
    """A result that could not be computed; `text` has the reason."""

    text: str


@dataclass
class ResultReady(Message):
    """A result is ready. The view that gets this stores it with `keep` and draws again."""

    cache: "ResultCache[Any]"
    place: Hashable
    found: object
    run: int

    def keep(self) -> None:
        """Stores the result in its cache."""
        self.cache.store(self)


class ResultCache(Generic[T]):
    """Results of one kind, requested on first use; those of previous runs are dropped."""

    def __init__(self, kind: str, sender: Widget, kept: int = 256) -> None:
        self._kind, self._sender, self._kept = kind, sender, kept
        self._found: OrderedDict[Hashable, T | Unavailable] = OrderedDict()
        self._requested: Hashable = None
        self._run = 0

    def at(self, place: Hashable, read: Callable[[], T]) -> T | Unavailable | None:
        """The result of `read` for this place; None while it is computed, and then a `ResultReady` is posted."""
        if place in self._found:
            self._found.move_to_end(place)
            return self._found[place]
        if place != self._requested:
            self._requested, run = place, self._run
            reader = self._sender.screen.reader  # type: ignore[attr-defined]
            reader.submit(self._kind, lambda: ResultReady(self, place, _result(read), run), self._sender)
        return None

    def store(self, message: ResultReady) -> None:
        """Stores a result, unless it is of a previous run."""
        if message.run != self._run:
            return
        self._found[message.place] = message.found  # type: ignore[assignment]
        if message.place == self._requested:
            self._requested = None
        while len(self._found) > self._kept:
            self._found.popitem(last=False)

    def clear(self) -> None:
        """Clears the cache: results of earlier requests are dropped."""
        self._found.clear()
        self._requested, self._run = None, self._run + 1


def _result(read: Callable[[], T]) -> T | Unavailable:
    try:
        return read()
    except BaseException as error:  # shown in place of the result; not requested again
        return Unavailable(error_message(error, "a background request").message)
