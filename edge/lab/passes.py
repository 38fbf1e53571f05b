"""Passes over prompts in a row: what one shares with the one before it, up to its first edit, is fed once."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from edge.edits import Edit, changes, check_edits
from edge.engines.base import Engine
from edge.generate import check_ids, passes
from edge.watch import Watch


@dataclass(frozen=True)
class Ask:
    """A prompt whose last logits are wanted.

    Attributes:
        rows: Logits after so many of the last tokens.
    """

    ids: tuple[int, ...]
    edits: tuple[Edit, ...] = ()
    rows: int = 1

    @property
    def unedited(self) -> int:
        """Tokens before the first that an edit acts on."""
        firsts = [0 if edit.tokens is None else min(edit.tokens, default=len(self.ids)) for edit in self.edits]
        return min([len(self.ids), *firsts])


def starts(asks: Iterable[Ask]) -> Iterator[tuple[Ask, int]]:
    """Each prompt and the first token of it that has to be fed."""
    held: tuple[int, ...] = ()
    for ask in asks:
        most = min(ask.unedited, len(ask.ids) - ask.rows, len(held))
        start = next((place for place in range(most) if ask.ids[place] != held[place]), most)
        held = ask.ids[: ask.unedited]
        yield ask, start


def fed_tokens(asks: Iterable[Ask]) -> int:
    """Tokens that these prompts feed."""
    return sum(len(ask.ids) - start for ask, start in starts(asks))


def logits_after(
    engine: Engine, asks: Iterable[Ask], check: Callable[[], None]
) -> Iterator[Float32[np.ndarray, "row vocab"]]:
    """The logits of each prompt, from a fresh cache; each array is the reader's own.

    Args:
        check: Called before each prompt; what it raises ends the passes.
    """
    engine.rewind(0)
    for ask, start in starts(asks):
        check()
        check_ids(ask.ids, engine.spec)
        check_edits(ask.edits, engine.spec, len(ask.ids))
        engine.rewind(start)
        engine.reserve(len(ask.ids))
        yield _logits(engine, ask, start)


def _logits(engine: Engine, ask: Ask, start: int) -> Float32[np.ndarray, "row vocab"]:
    watch, found = Watch(parts=(), logits=ask.rows > 1), []
    for fed in passes(engine.spec, len(ask.ids)):
        piece = range(max(fed.start, start), fed.stop)
        if len(piece):
            ids = np.array(ask.ids[piece.start : piece.stop], np.int64)
            found.append(engine.feed(ids, watch, changes=changes(ask.edits, engine.spec, piece)).logits)
    return np.concatenate(found)[-ask.rows :]
