"""Relative errors between the sites of two variants, and the first site over a tolerance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from edge.session import Model
from edge.trace import Trace
from edge.watch import Watch
from models.sites import layer_of, sites_of
from models.spec import DecoderSpec

BLOCK_BYTES = 256 * 1000**2
"""Maximum size of the sites recorded in one pass; at least one layer is recorded."""

_ROWS = 64  # rows compared at a time, to avoid a second copy of all logits

Errors = Mapping[str, Float64[np.ndarray, " token"]]
"""Relative error of each token, by site: `max |a - b| / max |b|`, b being the reference."""


@dataclass(frozen=True)
class DivergentSite:
    """The first site of a variant over its tolerance.

    Attributes:
        site: The site, in the order of computation.
        layer: The layer; None for the logits.
        token: Position of the first token over the tolerance.
        piece: Label of that token.
        relative_error: Relative error of the site: `max |a - b| / max |b|` over all tokens.
    """

    site: str
    layer: int | None
    token: int
    piece: str
    relative_error: float


def record(model: Model, ids: tuple[int, ...], watch: Watch, file: Path) -> None:
    """Feeds `ids` and writes the watched sites to `file` as a trace."""
    model.run(ids=list(ids), max_new_tokens=0, watch=watch, stop_tokens=()).save(file)


def watches(spec: DecoderSpec, tokens: int) -> Iterator[Watch]:
    """Watches for every site of every layer, in blocks of layers that fit `BLOCK_BYTES`."""
    block: tuple[int, ...] = ()
    for layer in range(spec.n_layers):
        grown = Watch(parts=None, layers=(*block, layer))
        if block and grown.cost_bytes(spec, tokens) > BLOCK_BYTES:
            yield Watch(parts=None, layers=block)
            block = ()
        block = (*block, layer)
    yield Watch(parts=None, layers=block)


def token_errors(
    values: Float32[np.ndarray, "token ..."], reference: Float32[np.ndarray, "token ..."]
) -> Float64[np.ndarray, " token"]:
    """Relative error of each token: `max |a - b|` of the token divided by `max |b|` of the whole site, at least 1e-6.

    Their maximum is the relative error of the site. Overflowed values give NaN.
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
    """Errors of every site that both recorded with the same shape, in the order of computation."""
    both = [name for name in sites_of(reference.spec) if name in reference.sites and name in seen.sites]
    return {
        name: token_errors(seen.site(name), reference.site(name))
        for name in both
        if seen.sites[name].shape == reference.sites[name].shape
    }


def first_divergent_site(errors: Errors, tolerance: float, pieces: tuple[str, ...]) -> DivergentSite | None:
    """The first site of `errors` that exceeds the tolerance; None if none does. NaN exceeds any tolerance."""
    for site, off in errors.items():
        exceeds = ~(off <= tolerance)
        if exceeds.any():
            token = int(exceeds.argmax())
            return DivergentSite(site, layer_of(site), token, pieces[token], float(off.max()))
    return None
