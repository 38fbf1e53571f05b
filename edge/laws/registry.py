"""All laws in order: the statement of each, the method, and the check."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from edge.compare.result import ComparedVariant, Comparison
from edge.compare.tolerances import have_equal_weights
from edge.engines.choice import engine_of
from edge.laws import run_laws, trace_laws
from edge.laws.case import Case
from edge.laws.result import LawResult, skipped_law
from edge.picture.pieces import quote_piece
from edge.picture.units import show_share
from edge.trace import Trace
from edge.watch import Watch
from models.sites import ATTENTION_OUTPUT, FFN_OUTPUT, HEADS, KEY, QUERY, VALUE

AGREEMENT = "engines with equal weights agree within rounding"


@dataclass(frozen=True)
class Law:
    """One law.

    Attributes:
        statement: The law, in a few words.
        method: The two values that are compared.
        check: None for the law that compares engines, see `law_5`.
    """

    number: int
    statement: str
    method: str
    check: Callable[[Case], LawResult] | None


def _law_1(case: Case) -> LawResult:
    watch = (QUERY, KEY, VALUE, HEADS, ATTENTION_OUTPUT)
    return _layer_by_layer(case, watch, lambda trace: trace_laws.law_1(trace, case.checkpoint, case.tolerance))


def _law_3(case: Case) -> LawResult:
    watch = ("input", ATTENTION_OUTPUT, FFN_OUTPUT, "output")
    return _layer_by_layer(case, watch, lambda trace: trace_laws.law_3(trace, case.checkpoint, case.tolerance))


def _law_4(case: Case) -> LawResult:
    trace = case.run(Watch(parts=("input", ATTENTION_OUTPUT, FFN_OUTPUT, "output"), logits=True))
    return trace_laws.law_4(trace, case.readout, case.tolerance, name_token=case.name_token)


def _layer_by_layer(case: Case, parts: tuple[str, ...], check: Callable[[Trace], LawResult]) -> LawResult:
    """Checks a law on a few layers at a time: the largest error, at the first place over tolerance."""
    found = [check(case.run(replace(watch, parts=parts))) for watch in case.blocks()]
    worst = max(found, key=lambda one: (one.worst != one.worst, one.worst))
    broken = next((one for one in found if not one.passed), worst)
    return replace(worst, where=broken.where)


def law_5(comparison: Comparison) -> LawResult:
    """Every site of every variant that has the reference's weights agrees with the reference, within rounding error.

    The result is that of the variant with the largest error relative to its tolerance. Variants with quantized weights
    are skipped if the reference has other weights: they are different models, and differ by more than rounding error.
    """
    reference = engine_of(comparison.reference.engine)
    equal = [one for one in comparison.variants if have_equal_weights(reference, engine_of(one.engine))]
    others = "; ".join(
        f"not checked: {one.name} has other weights than {comparison.reference.name}, {_top1_agreement(one)}"
        for one in comparison.variants
        if one not in equal
    )
    if not equal:
        return skipped_law(5, AGREEMENT, comparison.variants[0].tolerance, others, comparison.text.site_tokens)
    furthest = max(equal, key=lambda one: _worst(one) / one.tolerance)
    where = "; ".join(note for note in (_place(comparison, furthest), _top1_agreement(furthest), others) if note)
    return LawResult(
        number=5,
        statement=AGREEMENT,
        worst=_worst(furthest),
        tolerance=furthest.tolerance,
        passed=all(one.first_divergent_site is None for one in equal) if furthest.worst_site else None,
        where=where,
        tokens=comparison.text.site_tokens,
    )


def _place(comparison: Comparison, furthest: ComparedVariant) -> str:
    """Where a variant first exceeds its tolerance, or has its largest error."""
    at, site = furthest.first_divergent_site, furthest.worst_site
    if site is None:
        return f"{furthest.name} has no site in the shapes of {comparison.reference.name}"
    if at is None:
        return f"{furthest.name} at {site}"
    tie = ", router near tie" if furthest.router_near_tie else ""
    return (
        f"{furthest.name} differs from {comparison.reference.name} at {at.site}, "
        f"token {at.token} {quote_piece(at.piece)}{tie}"
    )


def _top1_agreement(one: ComparedVariant) -> str:
    return f"top-1 agreement {show_share(one.predictions.top1_agreement)}"


def _worst(one: ComparedVariant) -> float:
    error = one.sites[one.worst_site] if one.worst_site else 0.0
    return float("inf") if error != error else error


LAWS = (
    Law(1, trace_laws.PATTERNS, "recomputed pattern · value · W_O, compared with the recorded attn.output", _law_1),
    Law(2, run_laws.RECORDING, "all logits and 6 tokens, compared with a run that records nothing", run_laws.law_2),
    Law(3, trace_laws.SUMS, "each layer's input + sublayer outputs, compared with the layer's output", _law_3),
    Law(
        4,
        trace_laws.ATTRIBUTIONS,
        "sum of direct logit attributions, final norm statistics fixed, compared with logit differences",
        _law_4,
    ),
    Law(5, AGREEMENT, "max |a − b| / max |b| of each site; b is the reference", None),
    Law(
        6, run_laws.POSITIONS, "FFN of reordered rows, compared with its reordered output; three layers", run_laws.law_6
    ),
    Law(
        7, run_laws.SHARES, "Σ parts + unattributed time, compared with the pass: prefill, decode step", run_laws.law_7
    ),
    Law(
        8, run_laws.CACHE, "token by token, compared with one pass; every site, edited by factors of 1", run_laws.law_8
    ),
)
"""In the order of their numbers."""
