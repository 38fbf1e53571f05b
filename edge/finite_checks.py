"""Stops a run whose numbers are not finite. The error names the first site, layer and token, and what to do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int64

from edge.change import Edit, changes
from edge.engines.base import Engine, Step
from edge.engines.choice import engine_of, floats_of
from edge.watch import Watch
from models.errors import EdgeError
from models.precision import Float
from models.sites import LOGITS, layer_of

PassIds = Sequence[Int64[np.ndarray, "_"]]
"""The ids of each pass of a run, in order."""

LARGEST_HALF = 65_504
"""The largest number that float16 holds."""

_BLOCK = 1 << 20
"""Numbers checked in one numpy call."""

_STREAM = ("input", "output")
"""Parts checked first: a number that is not finite in a layer reaches the residual stream after it."""


@dataclass(frozen=True)
class FirstNonFinite:
    """The first number that is not finite: its site, in order of computation, and its token."""

    site: str
    token: int

    def __str__(self) -> str:
        return f"{self.site}, token {self.token}"


def is_finite(values: np.ndarray) -> bool:
    """Whether all numbers are finite: neither NaN nor infinite."""
    flat = values.reshape(-1)
    return all(np.isfinite(flat[start : start + _BLOCK]).all() for start in range(0, len(flat), _BLOCK))


def check_logits(engine: Engine, fed: PassIds, edits: Sequence[Edit], logits: Float32[np.ndarray, "row vocab"]) -> None:
    """Checks that the logits of the last tokens are finite.

    Raises:
        EdgeError: some are not. The message names the first site and token.
    """
    if not is_finite(logits):
        in_logits = FirstNonFinite(LOGITS, engine.fed - len(logits) + _row(logits))
        raise non_finite_error(engine, edits, first_non_finite(engine, fed, edits) or in_logits)


def non_finite_error(engine: Engine, edits: Sequence[Edit], start: FirstNonFinite) -> EdgeError:
    """The error for a run whose numbers are not finite from `start` on."""
    return EdgeError(
        f"{engine.name} computes numbers that are not finite, from {start} on; {_what_to_do(engine, edits)}"
    )


def check_sites(engine: Engine, fed: PassIds, edits: Sequence[Edit], sites: Mapping[str, np.ndarray]) -> None:
    """Checks that recorded values are finite.

    Raises:
        EdgeError: some are not. The message names the first site and token, or says that float16 cannot store them.
    """
    wrong = next((site for site, values in sites.items() if not is_finite(values)), None)
    if wrong is None:
        return
    start = first_non_finite(engine, fed, edits)
    if start is None and sites[wrong].dtype == np.float16:
        raise EdgeError(
            f"{wrong} has numbers above {LARGEST_HALF:,}, the float16 maximum; store float32 (omit --half, or use "
            "Watch(half=False)), or run fewer tokens if the UI chose float16"
        )
    raise non_finite_error(engine, edits, start or FirstNonFinite(wrong, _row(sites[wrong])))


def first_non_finite(engine: Engine, fed: PassIds, edits: Sequence[Edit]) -> FirstNonFinite | None:
    """The first number that is not finite; None if all are. Feeds the run again, from an empty cache.

    Watches the residual stream first, where such a number persists, then all sites of the layer found.
    """
    rough = _first(engine, fed, edits, Watch(parts=_STREAM))
    if rough is None:
        return None
    layer = layer_of(rough.site)
    assert layer is not None
    return _first(engine, fed, edits, Watch(parts=None, layers=(layer,))) or rough


def _first(engine: Engine, fed: PassIds, edits: Sequence[Edit], watch: Watch) -> FirstNonFinite | None:
    for first, step in _passes(engine, fed, edits, watch):
        for site in watch.sites(engine.spec):
            if not is_finite(step.sites[site.name]):
                return FirstNonFinite(site.name, first + _row(step.sites[site.name]))
    return None


def _row(values: np.ndarray) -> int:
    """The first row with a number that is not finite."""
    return int(np.isfinite(values.reshape(len(values), -1)).all(axis=1).argmin())


def _passes(engine: Engine, fed: PassIds, edits: Sequence[Edit], watch: Watch) -> Iterator[tuple[int, Step]]:
    """Repeats the passes of a run; yields the position of the first token and the step of each."""
    engine.clear()
    first = 0
    for ids in fed:
        rows = range(first, first + len(ids))
        yield first, engine.feed(ids, watch, changes=changes(edits, engine.spec, rows))
        first = rows.stop


def _what_to_do(engine: Engine, edits: Sequence[Edit]) -> str:
    choice = engine_of(engine.name)
    if choice.float_kind == "fp16":
        wider = [kind for kind in floats_of(choice.name, choice.provider) if kind != "fp16"]
        named = " or ".join(str(replace(choice, precision=Float(kind))) for kind in wider)
        return f"float16 holds numbers up to {LARGEST_HALF:,}; run on {named}"
    if edits:
        return "run without the edits, or with smaller ones"
    return "the weights may be damaged; download or convert the checkpoint again"
