"""The lab: claims about attention and the FFN, each with its verdict, its numbers and its pictures."""

from collections import Counter
from collections.abc import Iterator

from edge.lab.claim import Finding, Number
from edge.lab.contrast import contrast
from edge.lab.effect import Effect, Verdict
from edge.lab.run import ClaimResult, LabRecord
from edge.picture.units import show_measured, show_with_unit, unit_title
from edge.report.heatmaps import heatmap_figure
from edge.report.markup import Markup, Section, note, numbers, tag, text
from edge.report.plots import curve_figure

_MARKS = {
    Verdict.SUPPORTED: ("●", "within"),
    Verdict.NOT_SUPPORTED: ("○", "beyond"),
    Verdict.INCONCLUSIVE: ("◐", None),
    Verdict.NOT_APPLICABLE: ("–", None),
}
"""Beside the words of a verdict, and their class in the style sheet."""


def claims_section(record: LabRecord, model: str) -> Section:
    """Everything about a lab, beside the page's own model `model`."""
    other = f"It is a lab of {record.model}, not of {model}, whose trace this page shows. "
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    what = note(
        *([tag("strong", other)] if record.model != model else []),
        f"Claims about attention and the FFN, tested on {record.model} with {record.engine} ({versions}), on "
        f"{record.passage_tokens:,} tokens of the text '{record.source}' and on texts that experiments make. ",
        "A claim is supported if the whole 95% interval of each effect is on the claimed side of its threshold. "
        "It is not "
        "supported if one interval is on the other side, and inconclusive if one includes the threshold or its sample "
        "is too small. A verdict is about this model on these texts. Baseline: the value at chance level, or if the "
        "claim were false. Points and cells show their numbers under the mouse; the JSON file of the lab has all "
        "numbers.",
    )
    claims = (_claim(place, result) for place, result in enumerate(record.results))
    return Section("lab", "Lab", (what, _summary(record), *claims, _contrast(record)))


def _summary(record: LabRecord) -> Markup:
    counts = Counter(result.finding.verdict for result in record.results)
    caption = "; ".join(f"{verdict}: {counts[verdict]}" for verdict in Verdict if counts[verdict])
    rows = (
        (tag("a", result.key, href=f"#{_id(place)}"), result.title, _verdict(result.finding), result.finding.reason)
        for place, result in enumerate(record.results)
    )
    return numbers(
        f"All claims. {caption or 'No claim was tested'}.", ("", "claim", "verdict", "why"), rows, kind="told verdicts"
    )


def _id(place: int) -> str:
    """By place: a key of a file could be anything."""
    return f"claim-{place}"


def _verdict(finding: Finding) -> Markup:
    mark, kind = _MARKS[finding.verdict]
    return tag("span", f"{mark} {finding.verdict}", class_=f"verdict {kind}" if kind else "verdict")


def _with_code(words: str) -> Iterator[Markup]:
    """What stands between backticks as code, the other words as they are."""
    for place, piece in enumerate(words.split("`")):
        yield tag("code", piece) if place % 2 else text(piece)


def _claim(place: int, result: ClaimResult) -> Markup:
    """One claim: what was asked and how, what was found, and the numbers and pictures behind it."""
    finding = result.finding
    title = tag("h3", f"{result.key} {result.title}: ", _verdict(finding), id=_id(place))
    facts = (
        ("method", result.method),
        ("rule", result.rule),
        ("source", result.source),
        ("cost", f"{result.cost_tokens:,} tokens fed beyond the text; {show_measured(result.took_s, 's')} s"),
    )
    basis = tag(
        "dl",
        *(tag("div", tag("dt", name), tag("dd", *_with_code(value))) for name, value in facts if value),
        class_="basis",
    )
    figures = [*map(curve_figure, finding.curves), *map(heatmap_figure, finding.grids)]
    measured = [_effects(finding.effects)] if finding.effects else []
    measured += [_numbers(finding.numbers)] if finding.numbers else []
    pictures = [tag("div", *figures, class_="panels")] if figures else []
    texts = dict.fromkeys((finding.reason, finding.summary))
    paragraphs = (tag("p", result.question, class_="note"), *(tag("p", words, class_="found") for words in texts))
    return tag("div", title, *paragraphs, *measured, *pictures, basis, class_="claim")


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
    return numbers("Measured", ("", "value", "baseline", "unit", "key"), rows, kind="measured")


def _contrast(record: LabRecord) -> Markup:
    rows = ((aspect.name, aspect.attention, aspect.ffn) for aspect in contrast(record))
    table = numbers(
        "Each aspect with this model's numbers; a dash stands for a number that was not measured.",
        ("", "attention", "FFN"),
        rows,
        kind="told",
    )
    return tag("div", tag("h3", "Attention and FFN"), table, class_="claim")
