"""How far other engines are from a reference: every site in the order in which it is computed, and the sums."""

import math
from collections.abc import Callable

import numpy as np

from edge.compare.result import ComparedVariant, Comparison, VariantResult
from edge.picture.levels import Log
from edge.picture.pieces import quote_piece
from edge.picture.units import show_bytes, show_number, show_share
from edge.report.markup import Markup, Section, note, numbers, tag

ERRORS = Log(1e-8, 1.0)
"""The scale of the bars beside relative errors."""

Measure = tuple[str, Callable[[VariantResult], str], Callable[[ComparedVariant], str]]
"""A row of the sums: its name, what the reference has of it, and what a variant has."""


def comparison_section(comparison: Comparison, model: str) -> Section:
    """Everything about a comparison, beside the page's own model `model`."""
    reference, text = comparison.reference, comparison.text
    named = {one.model for one in (reference, *comparison.variants)}
    other = f"It compares {', '.join(sorted(named))}; this page shows a trace of {model}. "
    what = note(
        *([tag("strong", other)] if named != {model} else []),
        f"Beside {reference.name} on the text '{text.source}', {text.tokens:,} tokens, teacher-forced; sites on its "
        f"first {text.site_tokens:,}. ",
        "Relative error of a site: max |a − b| / max |b|, b is the reference. ● is within the tolerance, ○ exceeds it: "
        "the tolerance is what the coarser of the two precisions alone explains. ◀ is the first site beyond, where a "
        "difference begins. A bar is as long as the error's logarithm, from 1e-8 to 1; its line is the tolerance.",
    )
    return Section("parity", "Parity", (what, _sums(comparison), _matrix(comparison)))


def _matrix(comparison: Comparison) -> Markup:
    sites = dict.fromkeys(site for variant in comparison.variants for site in variant.sites)
    head = tag("tr", tag("th", "site", scope="col"), *(_variant_head(variant) for variant in comparison.variants))
    caption = tag("caption", "Relative error of every site, in the order in which they are computed.")
    body = tag("tbody", *(_site_row(site, comparison) for site in sites))
    return tag("div", tag("table", caption, tag("thead", head), body, class_="matrix"), class_="wide")


def _variant_head(variant: ComparedVariant) -> Markup:
    return tag("th", variant.name, tag("small", f"tolerance {_error(variant.tolerance)}"), scope="col")


def _site_row(site: str, comparison: Comparison) -> Markup:
    cells = (_cell(site, variant) for variant in comparison.variants)
    opens = "opens" if site.endswith(".input") or "." not in site else None
    return tag("tr", tag("th", site, scope="row"), *cells, class_=opens)


def _cell(site: str, variant: ComparedVariant) -> Markup:
    if site not in variant.sites:
        return tag("td", "–")
    error = variant.sites[site]
    is_first = variant.first_divergent_site is not None and variant.first_divergent_site.site == site
    mark, kind = ("●", "within") if error <= variant.tolerance else ("○", "beyond")
    first = tag("strong", "◀" if is_first else "", title="the first site beyond the tolerance" if is_first else None)
    return tag(
        "td",
        _bar(error, variant.tolerance, kind),
        tag("span", _error(error), class_="figure"),
        tag("span", mark, class_=kind),
        first,
    )


def _bar(error: float, tolerance: float, kind: str) -> Markup:
    """As long as the error's logarithm, with a line where the tolerance ends."""
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
    """Three digits where that reads well, a power of ten below."""
    return show_number(value) if not math.isfinite(value) or abs(value) >= 0.01 else _error(value)


def _sums(comparison: Comparison) -> Markup:
    headings = ("", f"{comparison.reference.name} (reference)", *(variant.name for variant in comparison.variants))
    rows = [
        (name, of_reference(comparison.reference), *map(of, comparison.variants)) for name, of_reference, of in MEASURES
    ]
    caption = (
        "How alike, how fast, how large. KL: Σ p·(ln p − ln q) of the next token, p the reference's, in nats. ± is the "
        "standard error. A near tie: the reference's own lead over its second likeliest token is below 0.1 nats."
    )
    return numbers(caption, headings, rows)


def _nothing(_: VariantResult) -> str:
    return ""


def _parting(variant: ComparedVariant) -> str:
    found = variant.first_divergent_token
    if found is None:
        return "none"
    return f"#{found.position}: {quote_piece(found.piece)} for {quote_piece(found.reference_piece)}"


def _margin(variant: ComparedVariant) -> str:
    found = variant.first_divergent_token
    return f"{_figure(found.margin_nats)}{', a near tie' if found.is_near_tie else ''}" if found else "–"


def _departure(variant: ComparedVariant) -> str:
    return variant.first_divergent_site.site if variant.first_divergent_site else "none"


def _departed_token(variant: ComparedVariant) -> str:
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


def _held(one: VariantResult) -> str:
    held = one.memory.weights_memory_bytes
    return "not told" if held is None else show_bytes(held)


def _peak(one: VariantResult) -> str:
    peak = one.memory.process_peak_bytes
    return "not told" if peak is None else show_bytes(peak)


def _both(name: str, show: Callable[[VariantResult], str]) -> Measure:
    return name, show, show


def _decode(one: VariantResult) -> str:
    return f"{show_number(one.speed.decode_ms)} / {show_number(one.speed.decode_p90_ms)}"


MEASURES: tuple[Measure, ...] = (
    ("max |Δlogit|", _nothing, lambda one: _figure(one.predictions.max_logit_difference)),
    ("KL, nats: mean", _nothing, lambda one: _figure(one.predictions.kl_mean_nats)),
    ("median", _nothing, lambda one: _figure(one.predictions.kl_median_nats)),
    ("p99", _nothing, lambda one: _figure(one.predictions.kl_p99_nats)),
    ("max", _nothing, lambda one: _figure(one.predictions.kl_max_nats)),
    ("same likeliest token", _nothing, lambda one: show_share(one.predictions.top1_agreement)),
    ("other ones / of them near ties", _nothing, _flips),
    _both("perplexity", _perplexity),
    ("difference", _nothing, _difference),
    ("first site beyond the tolerance", _nothing, _departure),
    ("its first token beyond", _nothing, _departed_token),
    ("first greedy token that differs", _nothing, _parting),
    ("the reference's lead there, nats", _nothing, _margin),
    _both("decode, ms: p50 / p90", _decode),
    _both("prefill, ms: p50", lambda one: show_number(one.speed.prefill_ms)),
    _both("weights on disk", lambda one: show_bytes(one.memory.weights_bytes)),
    _both("weights in memory", _held),
    _both("process peak", _peak),
)
