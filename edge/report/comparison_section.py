"""The section "Parity": how variants differ from a reference, in summary and at every site in order of computation."""

import math
from collections.abc import Callable

import numpy as np

from edge.compare.result import ComparedVariant, Comparison, VariantResult
from edge.picture.levels import Log
from edge.picture.pieces import quote_piece
from edge.picture.units import show_bytes, show_number, show_share
from edge.report.markup import Markup, Section, note, numbers, source_title, tag

ERRORS = Log(1e-8, 1.0)
"""The scale of the bars of relative errors."""

Measure = tuple[str, Callable[[VariantResult], str], Callable[[ComparedVariant], str]]
"""A row of the summary: its name, the text for the reference, and the text for a variant."""


def comparison_section(comparison: Comparison, model: str) -> Section:
    """The section of a comparison. `model` is the model of the page's trace."""
    reference, text = comparison.reference, comparison.text
    compared = {one.model for one in (reference, *comparison.variants)}
    other = f"This comparison is of {', '.join(sorted(compared))}; the trace on this page is of {model}. "
    what = note(
        *([tag("strong", other)] if compared != {model} else []),
        f"Compared with {reference.name} on {text.tokens:,} tokens of {source_title(text.source)} (teacher forcing); "
        f"sites on the first {text.site_tokens:,}. {_without_sites(comparison)}",
        "Relative error of a site: max |a − b| / max |b| over all tokens, b being the reference. Tolerance: the error "
        "expected from the coarser of the two precisions. ● within tolerance, ○ over tolerance, ◀ first site over "
        "tolerance, where the difference starts. Bar: the relative error on a log scale from 1e-8 to 1; the line in it "
        "is the tolerance.",
    )
    return Section("parity", "Parity", (what, _summary(comparison), _matrix(comparison)))


def _without_sites(comparison: Comparison) -> str:
    """Names the variants that are compared by predictions only."""
    names = [one.name for one in (comparison.reference, *comparison.variants) if not one.has_sites]
    return f"Without sites: {', '.join(names)}. " if names else ""


def _matrix(comparison: Comparison) -> Markup:
    sites = dict.fromkeys(site for variant in comparison.variants for site in variant.sites)
    head = tag("tr", tag("th", "site", scope="col"), *(_variant_head(variant) for variant in comparison.variants))
    caption = tag("caption", "Relative error of every site, in order of computation.")
    body = tag("tbody", *(_site_row(site, comparison) for site in sites))
    return tag("div", tag("table", caption, tag("thead", head), body, class_="matrix"), class_="wide")


def _variant_head(variant: ComparedVariant) -> Markup:
    tolerance = f"tolerance {_error(variant.tolerance)}" if variant.sites else "no sites"
    return tag("th", variant.name, tag("small", tolerance), scope="col")


def _site_row(site: str, comparison: Comparison) -> Markup:
    cells = (_cell(site, variant) for variant in comparison.variants)
    opens = "opens" if site.endswith(".input") or "." not in site else None
    return tag("tr", tag("th", site, scope="row"), *cells, class_=opens)


def _cell(site: str, variant: ComparedVariant) -> Markup:
    if site not in variant.sites:
        return tag("td", "–")
    error = variant.sites[site]
    is_first = variant.first_divergent_site is not None and variant.first_divergent_site.site == site
    mark, kind = ("●", "within") if error <= variant.tolerance else ("○", "over")
    first = tag("strong", "◀" if is_first else "", title="first site over tolerance" if is_first else None)
    return tag(
        "td",
        _bar(error, variant.tolerance, kind),
        tag("span", _error(error), class_="figure"),
        tag("span", mark, class_=kind),
        first,
    )


def _bar(error: float, tolerance: float, kind: str) -> Markup:
    """A bar for the error on a log scale, with a line at the tolerance."""
    length, end = (float(place) for place in np.clip(ERRORS.place(np.array([error, tolerance])), 0, 1))
    bar = tag("rect", width=f"{100 * np.nan_to_num(length, nan=1.0):.0f}", height=8, class_=kind)
    line = tag("rect", x=f"{100 * end:.0f}", width=1, height=8, class_="tolerance")
    return tag("svg", bar, line, viewBox="0 0 101 8", class_="error", aria_hidden="true")


def _error(error: float) -> str:
    """`0.00000021` is `2.1e-7`."""
    if not math.isfinite(error):
        return "not a number"
    digits, _, exponent = f"{error:.1e}".partition("e")
    return f"{digits}e{int(exponent)}" if error else "0"


def _figure(value: float) -> str:
    """Three digits from 0.01 up; a power of ten below that."""
    return show_number(value) if not math.isfinite(value) or abs(value) >= 0.01 else _error(value)


def _summary(comparison: Comparison) -> Markup:
    headings = ("", f"{comparison.reference.name} (reference)", *(variant.name for variant in comparison.variants))
    rows = [
        (name, of_reference(comparison.reference), *map(of, comparison.variants)) for name, of_reference, of in MEASURES
    ]
    caption = (
        "Predictions, latency and memory. KL divergence: Σ p·(ln p − ln q) of the next token in nats, p being the "
        "reference. ±: standard error. Margin: log-probability of the reference's top-1 token minus that of its "
        f"second. Near tie: a margin below 0.1 nats. Prefill: {comparison.reference.speed.workload.prompt:,} tokens."
    )
    return numbers(caption, headings, rows)


def _nothing(_: VariantResult) -> str:
    return ""


def _greedy_difference(variant: ComparedVariant) -> str:
    found = variant.first_divergent_token
    if found is None:
        return "none"
    return f"#{found.position}: {quote_piece(found.piece)} instead of {quote_piece(found.reference_piece)}"


def _margin(variant: ComparedVariant) -> str:
    found = variant.first_divergent_token
    return f"{_figure(found.margin_nats)}{', a near tie' if found.is_near_tie else ''}" if found else "–"


def _first_site(variant: ComparedVariant) -> str:
    if not variant.sites:
        return "–"
    tie = ", router near tie" if variant.router_near_tie else ""
    return variant.first_divergent_site.site + tie if variant.first_divergent_site else "none"


def _first_token(variant: ComparedVariant) -> str:
    found = variant.first_divergent_site
    return f"{found.token} {quote_piece(found.piece)}" if found else "–"


def _flips(variant: ComparedVariant) -> str:
    return f"{variant.predictions.flips:,} / {variant.predictions.near_tie_flips:,}"


def _perplexity(one: VariantResult) -> str:
    return f"{_figure(one.perplexity.value)} ± {_figure(one.perplexity.error)}"


def _difference(variant: ComparedVariant) -> str:
    found = variant.predictions.perplexity_difference
    sign = "+" if found.value > 0 else "−" if found.value < 0 else ""
    return f"{sign}{_figure(abs(found.value))} ± {_figure(found.error)}"


def _weights_in_memory(one: VariantResult) -> str:
    size = one.memory.weights_memory_bytes
    return "not reported" if size is None else show_bytes(size)


def _peak(one: VariantResult) -> str:
    peak = one.memory.process_peak_bytes
    return "not reported" if peak is None else show_bytes(peak)


def _both(name: str, show: Callable[[VariantResult], str]) -> Measure:
    return name, show, show


def _decode(one: VariantResult) -> str:
    return f"{show_number(one.speed.decode_ms)} / {show_number(one.speed.decode_p90_ms)}"


MEASURES: tuple[Measure, ...] = (
    ("max |Δlogit|", _nothing, lambda one: _figure(one.predictions.max_logit_difference)),
    ("KL divergence, nats: mean", _nothing, lambda one: _figure(one.predictions.kl_mean_nats)),
    ("median", _nothing, lambda one: _figure(one.predictions.kl_median_nats)),
    ("p99", _nothing, lambda one: _figure(one.predictions.kl_p99_nats)),
    ("max", _nothing, lambda one: _figure(one.predictions.kl_max_nats)),
    ("top-1 agreement", _nothing, lambda one: show_share(one.predictions.top1_agreement)),
    ("different top-1 token / near ties", _nothing, _flips),
    _both("perplexity", _perplexity),
    ("minus the reference's", _nothing, _difference),
    ("first site over tolerance", _nothing, _first_site),
    ("first token over tolerance there", _nothing, _first_token),
    ("first different token in greedy decoding", _nothing, _greedy_difference),
    ("margin of the reference there, nats", _nothing, _margin),
    _both("decode, ms per token: p50 / p90", _decode),
    _both("prefill, ms: p50", lambda one: show_number(one.speed.prefill_ms)),
    _both("weights on disk", lambda one: show_bytes(one.memory.weights_bytes)),
    _both("weights in memory", _weights_in_memory),
    _both("process peak", _peak),
)
