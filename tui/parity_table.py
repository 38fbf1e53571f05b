"""Engines compared with a reference, as rows of cells: errors, marks, and the first site over tolerance."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge.compare.result import ComparedVariant, Comparison
from edge.picture.pieces import quote_piece
from edge.picture.units import show_error, show_number, show_share, show_tolerance
from edge.tables import Column, Table
from models.sites import LOGITS, layer_of

NEAR = 10
"""Multiple of the tolerance up to which an error is `near`."""

WITHIN_MARK, NEAR_MARK, OVER_MARK, FIRST_MARK = "●", "◐", "○", "◀"


@dataclass(frozen=True)
class Cell:
    """The cell of one engine in a row.

    Attributes:
        level: `within`, `near` or `over`; empty where there is no error.
        is_first: The first site of this engine over tolerance.
    """

    text: str
    level: str = ""
    is_first: bool = False


@dataclass(frozen=True)
class Line:
    """One row: its title, one cell per engine, and its layer or None."""

    title: str
    cells: tuple[Cell, ...]
    layer: int | None = None


def error_level(error: float, tolerance: float) -> str:
    """`within` the tolerance, `near` up to `NEAR` tolerances, else `over`; so is NaN."""
    return "within" if error <= tolerance else "near" if error <= NEAR * tolerance else "over"


def mark_of(level: str) -> str:
    """The mark of a level."""
    return {"within": WITHIN_MARK, "near": NEAR_MARK, "over": OVER_MARK}[level]


def headings(found: Comparison) -> tuple[tuple[str, str], ...]:
    """Name and tolerance of each engine."""
    return tuple((one.name, f"tol. {show_tolerance(one.tolerance)}" if one.sites else "") for one in found.variants)


def site_lines(found: Comparison) -> tuple[Line, ...]:
    """One row per site, in order of computation."""
    return tuple(Line(site, tuple(_cell(one, site) for one in found.variants), layer_of(site)) for site in sites(found))


def layer_lines(found: Comparison) -> tuple[Line, ...]:
    """One row per layer with its largest errors, and the logits."""
    layers = dict.fromkeys(layer for site in sites(found) if (layer := layer_of(site)) is not None)
    lines = [
        Line(f"layer {layer}, largest", tuple(_layer_cell(one, layer) for one in found.variants), layer)
        for layer in layers
    ]
    rests = (Line(site, tuple(_cell(one, site) for one in found.variants)) for site in sites(found) if site == LOGITS)
    return (*lines, *rests)


def sites(found: Comparison) -> tuple[str, ...]:
    """Every site that any engine shares with the reference; the logits are last."""
    names = dict.fromkeys(site for one in found.variants for site in one.sites)
    return (*(site for site in names if site != LOGITS), *(site for site in names if site == LOGITS))


def _cell(one: ComparedVariant, site: str) -> Cell:
    if site not in one.sites:
        return Cell("–")
    return _error_cell(
        one.sites[site], one.tolerance, one.first_divergent_site is not None and one.first_divergent_site.site == site
    )


def _layer_cell(one: ComparedVariant, layer: int) -> Cell:
    worst = one.worst_of_layer(layer)
    if math.isnan(worst):
        return Cell("–")
    return _error_cell(
        worst, one.tolerance, one.first_divergent_site is not None and one.first_divergent_site.layer == layer
    )


def _error_cell(error: float, tolerance: float, is_first: bool) -> Cell:
    level = error_level(error, tolerance)
    return Cell(f"{_number(error):>6} {mark_of(level)}{FIRST_MARK if is_first else ''}", level, is_first)


def _number(value: float) -> str:
    """Two digits with a sign, or NaN."""
    return ("−" if value < 0 else "") + show_error(abs(value)) if math.isfinite(value) else "NaN"


def first_differences(found: Comparison) -> str:
    """First site over tolerance: `onnx:int4 at layers.0.output, token 4 ' king'; onnx, mlx within tolerance`."""
    leaving = [f"{one.name} {_departure(one)}" for one in found.variants if one.first_divergent_site]
    compared = [one for one in found.variants if one.sites]
    staying = ", ".join(one.name for one in compared if not one.first_divergent_site)
    if not compared:
        return "no sites were compared"
    if not leaving:
        return "none, all engines within tolerance"
    return "; ".join([*leaving, *([f"{staying} within tolerance"] if staying else [])])


def _departure(one: ComparedVariant) -> str:
    at = one.first_divergent_site
    tie = ", router near tie" if one.router_near_tie else ""
    return f"at {at.site}, token {at.token} {quote_piece(at.piece)}{tie}" if at else ""


def sum_lines(found: Comparison) -> tuple[Line, ...]:
    """Summary of the differences: next-token distribution, greedy decoding, perplexity."""
    return tuple(Line(title, tuple(Cell(show(one)) for one in found.variants)) for title, show in _measures(found))


def _measures(found: Comparison) -> Iterator[tuple[str, Callable[[ComparedVariant], str]]]:
    reference = found.reference
    yield "top-1 agreement", lambda one: show_share(one.predictions.top1_agreement)
    yield "  differ, of these near ties", lambda one: f"{one.predictions.flips}, {one.predictions.near_tie_flips}"
    yield "KL mean, nats", lambda one: _number(one.predictions.kl_mean_nats)
    yield "KL p99, nats", lambda one: _number(one.predictions.kl_p99_nats)
    yield "max |Δ logit|", lambda one: _number(one.predictions.max_logit_difference)
    yield (
        "equal greedy tokens",
        lambda one: f"{one.first_divergent_token.position}" if one.first_divergent_token else "all",
    )
    yield (
        "  then its token",
        lambda one: quote_piece(one.first_divergent_token.piece) if one.first_divergent_token else "–",
    )
    yield (
        f"  {reference.name}'s token",
        lambda one: quote_piece(one.first_divergent_token.reference_piece) if one.first_divergent_token else "–",
    )
    yield "  top-1 margin, nats", lambda one: _margin(one)
    yield "perplexity", lambda one: show_number(one.perplexity.value)
    yield f"  minus {reference.name}'s", lambda one: _number(one.predictions.perplexity_difference.value)
    yield "  ± standard error", lambda one: _number(one.predictions.perplexity_difference.error)


def _margin(one: ComparedVariant) -> str:
    if one.first_divergent_token is None:
        return "–"
    return _number(one.first_divergent_token.margin_nats) + (" tie" if one.first_divergent_token.is_near_tie else "")


def as_table(found: Comparison) -> Table:
    """Relative errors as a table: one row per site, one column per engine; the first row has the tolerances."""
    columns = (Column("site", "site"), *(Column(one.name, one.name, ".2g") for one in found.variants))
    tolerances: tuple[str | float | None, ...] = (
        "tolerance",
        *(one.tolerance if one.sites else None for one in found.variants),
    )
    return Table(
        columns, [tolerances, *((site, *(one.sites.get(site) for one in found.variants)) for site in sites(found))]
    )
