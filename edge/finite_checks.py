"""Runs stop where numbers stop being finite: at the first site, layer and token, with the way out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int64

from edge.edits import Edit, changes
from edge.engines.base import Engine, Step
from edge.engines.choice import engine_of, floats_of
from edge.watch import Watch
from models.errors import EdgeError
from models.precision import Float
from models.sites import LOGITS, PARTS, layer_of

PassIds = Sequence[Int64[np.ndarray, "_"]]
"""The ids of each pass of a run, in order."""

LARGEST_HALF = 65_504
"""The largest number that float16 holds."""

_BLOCK = 1 << 20
"""Numbers that are looked at together."""

_STREAM = ("input", "output")
"""What is not finite in a layer is not finite in the residual stream that leaves it."""


@dataclass(frozen=True)
class FirstNonFinite:
    """Where numbers stop being finite: the first site in the order in which they are computed, and its first token."""

    site: str
    token: int

    def __str__(self) -> str:
        return f"{self.site}, token {self.token}"


def is_finite(values: np.ndarray) -> bool:
    """Whether no number is NaN or infinite."""
    flat = values.reshape(-1)
    return all(np.isfinite(flat[start : start + _BLOCK]).all() for start in range(0, len(flat), _BLOCK))


def check_logits(engine: Engine, fed: PassIds, edits: Sequence[Edit], logits: Float32[np.ndarray, "row vocab"]) -> None:
    """Refuses the logits of a run's last tokens where some are not finite.

    Raises:
        EdgeError: some are; the message names where that began, for which the run is fed again.
    """
    if not is_finite(logits):
        in_logits = FirstNonFinite(LOGITS, engine.fed - len(logits) + _row(logits))
        raise non_finite_error(engine, edits, first_non_finite(engine, fed, edits) or in_logits)


def non_finite_error(engine: Engine, edits: Sequence[Edit], start: FirstNonFinite) -> EdgeError:
    """The error of a run whose numbers stop being finite there."""
    return EdgeError(f"{engine.name} computes numbers that are not finite, from {start} on; {_way_out(engine, edits)}")


def check_sites(engine: Engine, fed: PassIds, edits: Sequence[Edit], sites: Mapping[str, np.ndarray]) -> None:
    """Refuses recorded values that are not finite.

    Raises:
        EdgeError: some are; the message names where that began, or says that float16 cannot keep them.
    """
    wrong = next((site for site, values in sites.items() if not is_finite(values)), None)
    if wrong is None:
        return
    start = first_non_finite(engine, fed, edits)
    if start is None and sites[wrong].dtype == np.float16:
        raise EdgeError(
            f"{wrong} has numbers beyond {LARGEST_HALF:,}, which float16 cannot keep; keep values as float32 (leave "
            "--half out, or use Watch(half=False)), or run fewer tokens where the UI chose float16"
        )
    raise non_finite_error(engine, edits, start or FirstNonFinite(wrong, _row(sites[wrong])))


def first_non_finite(engine: Engine, fed: PassIds, edits: Sequence[Edit]) -> FirstNonFinite | None:
    """Where numbers stop being finite; None where they stay finite. Feeds the run again, from a fresh cache.

    The residual stream is watched first, in which a number that is not finite stays; then the layer that it shows.
    """
    rough = _first(engine, fed, edits, Watch(parts=_STREAM))
    if rough is None:
        return None
    layer = layer_of(rough.site)
    assert layer is not None
    return _first(engine, fed, edits, Watch(parts=tuple(PARTS), layers=(layer,))) or rough


def _first(engine: Engine, fed: PassIds, edits: Sequence[Edit], watch: Watch) -> FirstNonFinite | None:
    for first, step in _passes(engine, fed, edits, watch):
        for site in watch.sites(engine.spec):
            if not is_finite(step.sites[site.name]):
                return FirstNonFinite(site.name, first + _row(step.sites[site.name]))
    return None


def _row(values: np.ndarray) -> int:
    """The first row that is not all finite."""
    return int(np.isfinite(values.reshape(len(values), -1)).all(axis=1).argmin())


def _passes(engine: Engine, fed: PassIds, edits: Sequence[Edit], watch: Watch) -> Iterator[tuple[int, Step]]:
    """The passes of a run once more, each with the position of its first token."""
    engine.rewind(0)
    first = 0
    for ids in fed:
        rows = range(first, first + len(ids))
        yield first, engine.feed(ids, watch, changes=changes(edits, engine.spec, rows))
        first = rows.stop


def _way_out(engine: Engine, edits: Sequence[Edit]) -> str:
    choice = engine_of(engine.name)
    if choice.float_kind == "fp16":
        wider = [kind for kind in floats_of(choice.name, choice.provider) if kind != "fp16"]
        named = " or ".join(str(replace(choice, precision=Float(kind))) for kind in wider)
        return f"float16 holds numbers up to {LARGEST_HALF:,}: run it on {named}"
    if edits:
        return "run it without its edits, or with smaller ones"
    return "weights of the checkpoint may be damaged: fetch or convert it anew, or compare it with a fresh copy"
