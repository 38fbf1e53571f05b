"""What every engine can do. numpy is the only array type that leaves one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from edge.edits import NO_CHANGES, Changes
from edge.timing import Grain, TimesByScope, Without
from edge.watch import Watch
from models.sites import LOGITS, place_of
from models.spec import DecoderSpec

Rows = Mapping[str, Float32[np.ndarray, "_ ..."]]
"""Arrays for the values of one pass, by the place of a site (`models.sites.place_of`)."""

NO_ROWS: Rows = {}


def row_of_logits(spec: DecoderSpec) -> Rows:
    """Where passes that are given it write the logits of their last token, each over those of the one before."""
    return {LOGITS: np.empty((1, spec.vocab_size), np.float32)}


def kept(
    value: Shaped[np.ndarray, "*shape"], place: Float32[np.ndarray, "*shape"] | None
) -> Float32[np.ndarray, "*shape"]:
    """A copy of a runtime's value: in `place` where there is one, else in a new array."""
    if place is None:
        return np.array(value, np.float32)
    place[...] = value
    return place


def watched_places(spec: DecoderSpec) -> Callable[[Watch], dict[str, str]]:
    """The place of each site that a watch records of one decoder, by name, but for the logits; remembered, since every
    pass asks anew."""

    @lru_cache(maxsize=8)
    def places(watch: Watch) -> dict[str, str]:
        return {site.name: place_of(site.name) for site in watch.sites(spec) if site.name != LOGITS}

    return places


@dataclass(frozen=True)
class Step:
    """One forward pass.

    Attributes:
        logits: One row, after the last token; a row for every token where the watch asks for logits.
        sites: Values of the watched sites by name, one row a token of this pass (keys and values
            too: those of this pass only); sites of one place share an array. `logits` is not repeated here.
    """

    logits: Float32[np.ndarray, "row vocab"]
    sites: dict[str, Float32[np.ndarray, "token ..."]] = field(default_factory=dict)


@runtime_checkable
class Engine(Protocol):
    """One runtime running one checkpoint. Used from one thread, from load to close.

    An engine remembers the keys and values of the tokens fed to it, up to its capacity.

    Attributes:
        name: As users write it: `torch`, `onnx:int4`.
        spec: The decoder it runs.
        threads: Threads it computes with.
        versions: Version of each package that computes.
        weights_bytes: Weights on disk, as it reads them.
        float_bytes: Of one number of a key or a value.
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
        """Tokens it remembers."""

    @property
    def allocator_peak_bytes(self) -> int | None:
        """The most that the runtime's allocator held at once; None where it does not say."""

    def reserve(self, capacity: int) -> None:
        """Makes room for `capacity` tokens at least; what was fed stays. Never shrinks."""

    def ready(self, watch: Watch, changing: bool) -> None:
        """Opens what passes need with this watch, and with changes, so that no timed pass waits for it."""

    def rewind(self, fed: int) -> None:
        """Forgets every token after the first `fed`; `rewind(0)` starts afresh."""

    def feed(
        self, ids: Int64[np.ndarray, " token"], watch: Watch, into: Rows = NO_ROWS, changes: Changes = NO_CHANGES
    ) -> Step:
        """One pass over `ids`, which follow what was fed. The caller has reserved room for them.

        Logits and watched values go to the arrays that `into` has for them; for others arrays are made.
        A site is changed before it is watched, and the decoder goes on with what it was changed to.
        """

    def feed_instrumented(self, ids: Int64[np.ndarray, " token"], repeats: int, grain: Grain) -> list[TimesByScope]:
        """Passes over `ids` with a clock at every sublayer or every part: nanoseconds by scope, one dict a pass.

        Scopes are `embed`, `head`, `other` for work that belongs to none, and in between `layers.<i>.attn` and
        `layers.<i>.ffn`, each with its norm, or the parts of both. `fed` is afterward as before.
        """

    def feed_without(self, ids: Int64[np.ndarray, " token"], rounds: int) -> dict[str, tuple[Without, ...]]:
        """Passes over `ids` without all `attn`, without all `ffn`, without all `layers`, each beside a whole one.

        Empty where the engine has no way to leave sublayers out. `fed` is afterward as before; what was fed is not.
        """

    def close(self) -> None:
        """Lets go of weights, caches and sessions."""
