"""Passes over a list of prompts.

A prefix that a prompt shares with the previous prompt, up to its first edit, is fed once.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from edge.change import Edit, changes, check_edits
from edge.engines.base import Engine
from edge.generate import check_ids, passes
from edge.watch import Watch


@dataclass(frozen=True)
class Prompt:
    """A prompt, its edits, and how many of its last logits to return.

    Attributes:
        rows: The logits after this many of the last tokens are returned.
    """

    ids: tuple[int, ...]
    edits: tuple[Edit, ...] = ()
    rows: int = 1

    @property
    def unedited(self) -> int:
        """Tokens before the first token that an edit acts on."""
        firsts = [0 if edit.tokens is None else min(edit.tokens, default=len(self.ids)) for edit in self.edits]
        return min([len(self.ids), *firsts])


def starts(prompts: Iterable[Prompt]) -> Iterator[tuple[Prompt, int]]:
    """Each prompt, with the position of the first token that has to be fed."""
    cached: tuple[int, ...] = ()
    for prompt in prompts:
        most = min(prompt.unedited, len(prompt.ids) - prompt.rows, len(cached))
        start = next((place for place in range(most) if prompt.ids[place] != cached[place]), most)
        cached = prompt.ids[: prompt.unedited]
        yield prompt, start


def fed_tokens(prompts: Iterable[Prompt]) -> int:
    """Tokens that have to be fed for these prompts."""
    return sum(len(prompt.ids) - start for prompt, start in starts(prompts))


def logits_after(
    engine: Engine, prompts: Iterable[Prompt], check: Callable[[], None]
) -> Iterator[Float32[np.ndarray, "row vocab"]]:
    """The logits of each prompt, starting from an empty cache; each array is a copy.

    Args:
        check: Called before each prompt; an exception from it ends the passes.
    """
    engine.clear()
    for prompt, start in starts(prompts):
        check()
        check_ids(prompt.ids, engine.spec)
        check_edits(prompt.edits, engine.spec, len(prompt.ids))
        engine.restore(engine.mark().back(start))
        engine.reserve(len(prompt.ids))
        yield _logits(engine, prompt, start)


def _logits(engine: Engine, prompt: Prompt, start: int) -> Float32[np.ndarray, "row vocab"]:
    watch, found = Watch(parts=(), logits=prompt.rows > 1), []
    for fed in passes(engine.spec, len(prompt.ids)):
        piece = range(max(fed.start, start), fed.stop)
        if len(piece):
            ids = np.array(prompt.ids[piece.start : piece.stop], np.int64)
            found.append(engine.feed(ids, watch, changes=changes(prompt.edits, engine.spec, piece)).logits)
    return np.concatenate(found)[-prompt.rows :]
