"""The interface of engines. numpy is the only array type that an engine returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from edge.change import NO_CHANGES, Changes
from edge.timing import Grain, TimesByScope, Without
from edge.watch import Watch
from models.sites import LOGITS, place_of
from models.spec import DecoderSpec
from models.sublayers.states import Mark

Rows = Mapping[str, Float32[np.ndarray, "_ ..."]]
"""Output arrays for the values of one pass, by the place of a site (`models.sites.place_of`)."""

NO_ROWS: Rows = {}


def row_of_logits(spec: DecoderSpec) -> Rows:
    """An output array for the logits of the last token, which each pass overwrites."""
    return {LOGITS: np.empty((1, spec.vocab_size), np.float32)}


def copied(
    value: Shaped[np.ndarray, "*shape"], place: Float32[np.ndarray, "*shape"] | None
) -> Float32[np.ndarray, "*shape"]:
    """A copy of a runtime's value: in `place` if it is given, else in a new array."""
    if place is None:
        return np.array(value, np.float32)
    place[...] = value
    return place


def watched_places(spec: DecoderSpec) -> Callable[[Watch], dict[str, str]]:
    """A cached function: the place of each site that a watch records of one decoder, by name, without the logits."""

    @lru_cache(maxsize=8)
    def places(watch: Watch) -> dict[str, str]:
        return {site.name: place_of(site.name) for site in watch.sites(spec) if site.name != LOGITS}

    return places


@dataclass(frozen=True)
class Step:
    """One forward pass.

    Attributes:
        logits: One row, after the last token; one row per token if the watch records logits.
        sites: Values of the watched sites by name, one row per token of this pass (for keys and values too). Sites of
            one place share an array. Excludes `logits`.
    """

    logits: Float32[np.ndarray, "row vocab"]
    sites: dict[str, Float32[np.ndarray, "token ..."]] = field(default_factory=dict)


@runtime_checkable
class Engine(Protocol):
    """One runtime running one checkpoint. Used from one thread, from load to close.

    An engine caches the keys and values of the tokens fed to it, up to its capacity.

    Attributes:
        name: Name as users write it: `torch`, `onnx:int4`.
        spec: The decoder it runs.
        threads: Number of compute threads.
        versions: Version of each package that computes.
        weights_bytes: Size of the weights on disk, as the engine reads them.
        float_bytes: Size of one number of a key or a value.
        timing_method: How `feed_instrumented` measures, in a few words.
    """

    name: str
    spec: DecoderSpec
    threads: int
    versions: dict[str, str]
    weights_bytes: int
    float_bytes: int
    timing_method: str

    @property
    def fed(self) -> int:
        """Number of tokens in the cache."""

    @property
    def allocator_peak_bytes(self) -> int | None:
        """Peak of the runtime's allocator; None if the runtime does not report it."""

    def reserve(self, capacity: int) -> None:
        """Grows the cache to at least `capacity` tokens and keeps its content. Never shrinks."""

    def ready(self, watch: Watch, changing: bool) -> None:
        """Prepares passes with this watch, and with changes, so that no timed pass includes this work."""

    def clear(self) -> None:
        """Empties the cache for a new text."""

    def mark(self) -> Mark[Any]:
        """The place after the last token. It is valid until `clear`."""

    def restore(self, mark: Mark[Any]) -> None:
        """Removes every token after a place from the cache."""

    def feed(
        self, ids: Int64[np.ndarray, " token"], watch: Watch, into: Rows = NO_ROWS, changes: Changes = NO_CHANGES
    ) -> Step:
        """One pass over `ids`, appended to the tokens in the cache. The caller has reserved the capacity.

        Writes logits and watched values to the arrays in `into`, and to new arrays for others.
        A change of a site applies before the site is recorded, and the decoder continues with the changed value.
        """

    def feed_instrumented(self, ids: Int64[np.ndarray, " token"], repeats: int, grain: Grain) -> list[TimesByScope]:
        """Passes over `ids` with a timer at every sublayer or every part: nanoseconds by scope, one dict per pass.

        Scopes are `embed`, `head`, `other` for work outside all scopes, and `layers.<i>.attn` and `layers.<i>.ffn`,
        each with its norm, or the parts of both. `fed` is the same before and after.
        """

    def feed_without(self, ids: Int64[np.ndarray, " token"], rounds: int) -> dict[str, tuple[Without, ...]]:
        """Passes over `ids` without all `attn`, without all `ffn`, without all `layers`, each paired with a whole pass.

        Empty if the engine cannot leave sublayers out. `fed` is the same before and after; the cache content is not.
        """

    def close(self) -> None:
        """Frees weights, caches and sessions."""
