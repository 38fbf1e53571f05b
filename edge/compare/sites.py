"""Where two variants part: how far each site of one is from the same site of the other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from edge.session import Model
from edge.trace import Trace
from edge.watch import Watch
from models.sites import PARTS, layer_of, sites_of
from models.spec import DecoderSpec

BLOCK_BYTES = 256 * 1000**2
"""What the sites of some layers may weigh that are recorded in one pass; one layer is the least."""

_ROWS = 64  # compared at a time, so that no second copy of all logits is made

Errors = Mapping[str, Float64[np.ndarray, " token"]]
"""For each site, how far each token is off: `max |a - b| / max |b|`, b being the reference."""


@dataclass(frozen=True)
class DivergentSite:
    """Where a variant leaves the reference.

    Attributes:
        site: The first beyond the tolerance, in the order in which sites are computed.
        layer: Its layer; None for the logits.
        token: Position of the first token beyond the tolerance there.
        piece: That token, as a label.
        relative_error: Of the site: `max |a - b| / max |b|` over all tokens.
    """

    site: str
    layer: int | None
    token: int
    piece: str
    relative_error: float


def record(model: Model, ids: tuple[int, ...], watch: Watch, file: Path) -> None:
    """Feeds `ids` and writes what is watched to `file`, as a trace."""
    model.run(ids=list(ids), max_new_tokens=0, watch=watch, stop_tokens=()).save(file)


def watches(spec: DecoderSpec, tokens: int) -> Iterator[Watch]:
    """Every site of every layer in blocks of layers, first to last, each small enough to be held."""
    block: tuple[int, ...] = ()
    for layer in range(spec.n_layers):
        grown = Watch(parts=tuple(PARTS), layers=(*block, layer))
        if block and grown.cost_bytes(spec, tokens) > BLOCK_BYTES:
            yield Watch(parts=tuple(PARTS), layers=block)
            block = ()
        block = (*block, layer)
    yield Watch(parts=tuple(PARTS), layers=block)


def token_errors(
    values: Float32[np.ndarray, "token ..."], reference: Float32[np.ndarray, "token ..."]
) -> Float64[np.ndarray, " token"]:
    """How far each token is off: `max |a - b|` of the token over `max |b|` of the whole site, 1e-6 at least.

    The largest of them is the relative error of the site. What overflowed is NaN.
    """
    off = np.empty(len(values), np.float64)
    largest = 1e-6
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(values), _ROWS):
            own, other = np.asarray(values[start : start + _ROWS]), np.asarray(reference[start : start + _ROWS])
            off[start : start + _ROWS] = np.abs(own - other).reshape(len(own), -1).max(axis=1)
            largest = max(largest, float(np.abs(other).max()))
        return off / largest


def trace_errors(seen: Trace, reference: Trace) -> dict[str, Float64[np.ndarray, " token"]]:
    """The errors of every site that both have recorded, in one shape, in the order in which they are computed."""
    both = [name for name in sites_of(reference.spec) if name in reference.sites and name in seen.sites]
    return {
        name: token_errors(seen.site(name), reference.site(name))
        for name in both
        if seen.sites[name].shape == reference.sites[name].shape
    }


def first_divergent_site(errors: Errors, tolerance: float, pieces: tuple[str, ...]) -> DivergentSite | None:
    """The first site, in the order of `errors`, that exceeds the tolerance; None where none does. NaN exceeds any."""
    for site, off in errors.items():
        beyond = ~(off <= tolerance)
        if beyond.any():
            token = int(beyond.argmax())
            return DivergentSite(site, layer_of(site), token, pieces[token], float(off.max()))
    return None
