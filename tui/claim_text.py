"""Texts and tables for the panes of the lab, without widgets."""

from itertools import chain

from edge.lab.claim import Claim, Curve, Grid
from edge.lab.contrast import measured_aspects
from edge.lab.run import ClaimResult, LabRecord
from edge.picture.units import show_bytes, show_time
from tui.jobs.lab import read_tokens, text_bytes
from tui.view_state import ModelSummary, ViewState
from tui.widgets.lab.text_sheet import Block, EffectTable, NumberTable, Paragraph

_TITLED = 10
_SIDES = 11


def about(claim: Claim, result: ClaimResult | None) -> tuple[Block, ...]:
    """The claim, how it is tested, and the cost of the test."""
    rows = {"question": claim.question, "method": claim.method, "rule": claim.rule, "source": claim.source}
    if result is not None:
        rows["cost"] = f"{result.cost_tokens:,} tokens in addition to the shared text, {show_time(result.took_s * 1e9)}"
    return (Paragraph(claim.title, look="first"), *_titled(rows, _TITLED))


def results_of(result: ClaimResult) -> tuple[Block, ...]:
    """The result: the reason for the verdict, the effects behind it, then all other numbers."""
    finding = result.finding
    reason, summary = (Paragraph(text) for text in (finding.reason, finding.summary))
    return (
        *((reason, EffectTable(finding.effects)) if finding.effects else ()),
        summary,
        *([NumberTable(finding.numbers)] if finding.numbers else []),
    )


def figures(result: ClaimResult | None) -> list[Curve | Grid]:
    """The figures of a claim."""
    return list(chain(result.finding.curves, result.finding.grids)) if result else []


def contrast_blocks(record: LabRecord) -> tuple[Block, ...]:
    """Attention and FFN side by side, aspect by aspect."""
    return tuple(
        block
        for aspect in measured_aspects(record)
        for block in (
            Paragraph(aspect.name, look="first"),
            *_titled({"attention": aspect.attention, "FFN": aspect.ffn}, _SIDES),
        )
    )


def _titled(rows: dict[str, str], cells: int) -> list[Paragraph]:
    return [Paragraph(text, title, cells) for title, text in rows.items() if text]


def record_of(model: ModelSummary, state: ViewState) -> LabRecord:
    """The results so far, as the lab records them."""
    return LabRecord(
        model=model.name,
        engine=model.engine,
        versions={},
        source="built in",
        passage_tokens=read_tokens(model.spec),
        results=tuple(state.claim_results.values()),
    )


def lacking(model: ModelSummary | None) -> str:
    """Why no claim can be tested, and what to do; empty where claims can be tested."""
    if model is None:
        return "no model is loaded yet"
    if not model.source:
        return (
            "a saved trace has no model to test claims on; open one with 'o'\n\n"
            "edge lab MODEL --json > lab.json tests all claims,\nedge report TRACE --lab lab.json adds them to a page"
        )
    if not model.reads_text:
        return "this model has no tokenizer to encode the texts of the lab\n\nadd its tokenizer.json to the folder"
    return ""


def awaited(key: str, state: ViewState) -> str:
    """Why a claim has no results yet, and what to do."""
    model = state.model
    if key in state.claims_queued:
        before = state.claims_queued.index(key)
        others = "one other claim" if before == 1 else f"{before} other claims"
        return f"waiting for {others}; escape stops" if before else "testing …\n\nescape stops"
    if model is None or (why := lacking(model)):
        return lacking(None) if model is None else why
    return (
        f"{key} is not tested on this model yet\n\nenter tests it, a tests all\n\n"
        f"{read_tokens(model.spec):,} tokens of the bundled text are shared by all claims; "
        f"they take {show_bytes(text_bytes(model.spec))} until another model is loaded"
    )
