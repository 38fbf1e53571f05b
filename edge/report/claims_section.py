"""The section "Lab": claims about attention and the FFN, each with verdict, numbers and figures."""

from collections import Counter
from collections.abc import Iterator

from edge.lab.claim import Finding, Number
from edge.lab.contrast import measured_aspects
from edge.lab.effect import Effect, Verdict
from edge.lab.run import ClaimResult, LabRecord
from edge.picture.units import show_measured, show_with_unit, unit_title
from edge.report.heatmaps import heatmap_figure
from edge.report.markup import Markup, Section, note, numbers, source_title, tag, text
from edge.report.plots import curve_figure

_MARKS = {
    Verdict.SUPPORTED: ("●", "within"),
    Verdict.NOT_SUPPORTED: ("○", "over"),
    Verdict.INCONCLUSIVE: ("◐", None),
    Verdict.NOT_APPLICABLE: ("–", None),
}
"""The mark of each verdict, and its class in the style sheet."""


def claims_section(record: LabRecord, model: str) -> Section:
    """The section of a lab. `model` is the model of the page's trace."""
    other = f"These claims were tested on {record.model}; the trace on this page is of {model}. "
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    what = note(
        *([tag("strong", other)] if record.model != model else []),
        f"Claims about attention and the FFN, tested on {record.model} with {record.engine} ({versions}), on "
        f"{record.passage_tokens:,} tokens of {source_title(record.source)} and on texts made by the experiments. ",
        "A claim is supported if the 95% interval of every effect is on the claimed side of its threshold. It is not "
        "supported if one interval is on the other side. It is inconclusive if an interval includes the threshold or "
        "a sample is too small. Verdicts apply to this model on these texts. Baseline: the value expected by chance, "
        "or if the claim were false. Hover over a point or a cell to see its number; the JSON of edge lab has all "
        "numbers.",
    )
    claims = (_claim(place, result) for place, result in enumerate(record.results))
    return Section("lab", "Lab", (what, _summary(record), *claims, *_contrast(record)))


def _summary(record: LabRecord) -> Markup:
    counts = Counter(result.finding.verdict for result in record.results)
    caption = "; ".join(f"{verdict}: {counts[verdict]}" for verdict in Verdict if counts[verdict])
    rows = (
        (tag("a", result.key, href=f"#{_id(place)}"), result.title, _verdict(result.finding), result.finding.reason)
        for place, result in enumerate(record.results)
    )
    return numbers(
        f"All claims. {caption or 'No claim was tested'}.",
        ("", "claim", "verdict", "reason"),
        rows,
        kind="prose verdicts",
    )


def _id(place: int) -> str:
    """An id from the position of the claim: the key comes from a file and can be any text."""
    return f"claim-{place}"


def _verdict(finding: Finding) -> Markup:
    mark, kind = _MARKS[finding.verdict]
    return tag("span", f"{mark} {finding.verdict}", class_=f"verdict {kind}" if kind else "verdict")


def _with_code(words: str) -> Iterator[Markup]:
    """Text between backticks as code, the rest unchanged."""
    for place, piece in enumerate(words.split("`")):
        yield tag("code", piece) if place % 2 else text(piece)


def _claim(place: int, result: ClaimResult) -> Markup:
    """One claim: question, result, effects, numbers, figures, and how it was tested."""
    finding = result.finding
    title = tag("h3", f"{result.key} {result.title}: ", _verdict(finding), id=_id(place))
    facts = (
        ("method", result.method),
        ("rule", result.rule),
        ("source", result.source),
        ("cost", f"{result.cost_tokens:,} tokens besides the shared text; {show_measured(result.took_s, 's')} s"),
    )
    basis = tag(
        "dl",
        *(tag("div", tag("dt", name), tag("dd", *_with_code(value))) for name, value in facts if value),
        class_="basis",
    )
    figures = [*map(curve_figure, finding.curves), *map(heatmap_figure, finding.grids)]
    measured = [_effects(finding.effects)] if finding.effects else []
    measured += [_numbers(finding.numbers)] if finding.numbers else []
    panels = [tag("div", *figures, class_="panels")] if figures else []
    texts = dict.fromkeys((finding.reason, finding.summary))
    paragraphs = (tag("p", result.question, class_="note"), *(tag("p", words, class_="finding") for words in texts))
    return tag("div", title, *paragraphs, *measured, *panels, basis, class_="claim")


def _effects(effects: tuple[Effect, ...]) -> Markup:
    rows = (
        (
            effect.label,
            show_with_unit(effect.value, effect.unit),
            effect.interval,
            effect.criterion,
            str(effect.verdict),
            effect.threshold_reason,
            "exact" if effect.sample is None else f"{effect.sample:,} {effect.sample_unit}",
            tag("code", effect.key),
        )
        for effect in effects
    )
    heads = ("", "effect", "95% interval", "criterion", "verdict", "threshold", "sample", "key")
    return numbers("Effects", heads, rows, kind="measured")


def _numbers(measured: tuple[Number, ...]) -> Markup:
    rows = (
        (
            number.label,
            show_measured(number.value, number.unit),
            "" if number.baseline is None else show_measured(number.baseline, number.unit),
            unit_title(number.unit),
            tag("code", number.key),
        )
        for number in measured
    )
    return numbers("Measurements", ("", "value", "baseline", "unit", "key"), rows, kind="measured")


def _contrast(record: LabRecord) -> Iterator[Markup]:
    """The comparison of attention and the FFN, if a tested claim has a number of it."""
    rows = [(aspect.name, aspect.attention, aspect.ffn) for aspect in measured_aspects(record)]
    if not rows:
        return
    table = numbers(
        "Attention and the FFN, with the numbers of this model. –: not measured.",
        ("", "attention", "FFN"),
        rows,
        kind="prose",
    )
    yield tag("div", tag("h3", "Attention and FFN"), table, class_="claim")
