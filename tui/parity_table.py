"""Engines beside a reference, as lines of cells: what each cell says, its mark, and where each engine first differs."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge.compare.result import ComparedVariant, Comparison
from edge.picture.pieces import quote_piece
from edge.picture.units import show_error, show_number, show_share, show_tolerance
from edge.tables import Column, Table
from models.sites import LOGITS, layer_of

NEAR = 10
"""Tolerances up to which a difference counts as near."""

WITHIN_MARK, NEAR_MARK, BEYOND_MARK, FIRST_MARK = "●", "◐", "○", "◀"


@dataclass(frozen=True)
class Cell:
    """What one engine has on a line.

    Attributes:
        look: `within`, `near` or `beyond`; empty where there is nothing to judge.
        is_first: The first difference of this engine.
    """

    text: str
    look: str = ""
    is_first: bool = False


@dataclass(frozen=True)
class Line:
    """One line: its title, and a cell for each engine. `layer` is None where it belongs to none."""

    title: str
    cells: tuple[Cell, ...]
    layer: int | None = None


def judge(error: float, tolerance: float) -> str:
    """`within` the tolerance, `near` up to `NEAR` tolerances, `beyond`; what is no number is beyond."""
    return "within" if error <= tolerance else "near" if error <= NEAR * tolerance else "beyond"


def mark_of(look: str) -> str:
    """The mark of a verdict."""
    return {"within": WITHIN_MARK, "near": NEAR_MARK, "beyond": BEYOND_MARK}[look]


def headings(found: Comparison) -> tuple[tuple[str, str], ...]:
    """For each engine its name, and its tolerance."""
    return tuple((one.name, f"tolerance {show_tolerance(one.tolerance)}") for one in found.variants)


def site_lines(found: Comparison) -> tuple[Line, ...]:
    """A line a site, in the order in which they are computed."""
    return tuple(Line(site, tuple(_cell(one, site) for one in found.variants), layer_of(site)) for site in sites(found))


def layer_lines(found: Comparison) -> tuple[Line, ...]:
    """A line a layer with its worst sites, and the logits."""
    layers = dict.fromkeys(layer for site in sites(found) if (layer := layer_of(site)) is not None)
    lines = [
        Line(f"layer {layer}, worst", tuple(_layer_cell(one, layer) for one in found.variants), layer)
        for layer in layers
    ]
    rests = (Line(site, tuple(_cell(one, site) for one in found.variants)) for site in sites(found) if site == LOGITS)
    return (*lines, *rests)


def sites(found: Comparison) -> tuple[str, ...]:
    """Every site that any engine shares with the reference; the logits come last."""
    names = dict.fromkeys(site for one in found.variants for site in one.sites)
    return (*(site for site in names if site != LOGITS), *(site for site in names if site == LOGITS))


def _cell(one: ComparedVariant, site: str) -> Cell:
    if site not in one.sites:
        return Cell("–")
    return _judged(
        one.sites[site], one.tolerance, one.first_divergent_site is not None and one.first_divergent_site.site == site
    )


def _layer_cell(one: ComparedVariant, layer: int) -> Cell:
    worst = one.worst_of_layer(layer)
    if math.isnan(worst):
        return Cell("–")
    return _judged(
        worst, one.tolerance, one.first_divergent_site is not None and one.first_divergent_site.layer == layer
    )


def _judged(error: float, tolerance: float, is_first: bool) -> Cell:
    look = judge(error, tolerance)
    return Cell(f"{_number(error):>6} {mark_of(look)}{FIRST_MARK if is_first else ''}", look, is_first)


def _number(value: float) -> str:
    """Two digits with a sign; what overflowed says so."""
    return ("−" if value < 0 else "") + show_error(abs(value)) if math.isfinite(value) else "NaN"


def first_differences(found: Comparison) -> str:
    """Where engines leave the reference: `onnx:int4 at layers.0.attn.query, token 4 ' king'; onnx, mlx nowhere`."""
    leaving = [f"{one.name} {_departure(one)}" for one in found.variants if one.first_divergent_site]
    staying = ", ".join(one.name for one in found.variants if not one.first_divergent_site)
    return "; ".join([*leaving, *([f"{staying} nowhere"] if staying else [])])


def _departure(one: ComparedVariant) -> str:
    at = one.first_divergent_site
    return f"at {at.site}, token {at.token} {quote_piece(at.piece)}" if at else "nowhere"


def sum_lines(found: Comparison) -> tuple[Line, ...]:
    """What the differences come to: of the next token's distribution, of greedy choices, of the text's cost."""
    return tuple(Line(title, tuple(Cell(show(one)) for one in found.variants)) for title, show in _measures(found))


def _measures(found: Comparison) -> Iterator[tuple[str, Callable[[ComparedVariant], str]]]:
    reference = found.reference
    yield "same next token", lambda one: show_share(one.predictions.top1_agreement)
    yield "  others, near ties", lambda one: f"{one.predictions.flips}, {one.predictions.near_tie_flips}"
    yield "KL mean, nats", lambda one: _number(one.predictions.kl_mean_nats)
    yield "KL p99, nats", lambda one: _number(one.predictions.kl_p99_nats)
    yield "max |Δ logit|", lambda one: _number(one.predictions.max_logit_difference)
    yield (
        "greedy differs at",
        lambda one: f"#{one.first_divergent_token.position}" if one.first_divergent_token else "nowhere",
    )
    yield "  it chooses", lambda one: quote_piece(one.first_divergent_token.piece) if one.first_divergent_token else "–"
    yield (
        f"  {reference.name} chooses",
        lambda one: quote_piece(one.first_divergent_token.reference_piece) if one.first_divergent_token else "–",
    )
    yield "  its lead, nats", lambda one: _lead(one)
    yield "perplexity", lambda one: show_number(one.perplexity.value)
    yield f"  less {reference.name}'s", lambda one: _number(one.predictions.perplexity_difference.value)
    yield "  ± standard error", lambda one: _number(one.predictions.perplexity_difference.error)


def _lead(one: ComparedVariant) -> str:
    if one.first_divergent_token is None:
        return "–"
    return _number(one.first_divergent_token.margin_nats) + (" tie" if one.first_divergent_token.is_near_tie else "")


def as_table(found: Comparison) -> Table:
    """Relative errors of all sites for scripts: a row a site, a column an engine; the first row has the tolerances."""
    columns = (Column("site", "site"), *(Column(one.name, one.name, ".2g") for one in found.variants))
    tolerances: tuple[str | float | None, ...] = ("tolerance", *(one.tolerance for one in found.variants))
    return Table(
        columns, [tolerances, *((site, *(one.sites.get(site) for one in found.variants)) for site in sites(found))]
    )
