"""The lab: claims about attention and the FFN, each with its verdict, its numbers and its pictures."""

from collections import Counter
from collections.abc import Iterator

from edge.lab.claim import Finding, Number
from edge.lab.contrast import contrast
from edge.lab.effect import Effect, Verdict
from edge.lab.run import LabRecord, Tried
from edge.picture.units import show_measured, show_with_unit
from edge.report.heatmaps import heatmap_figure
from edge.report.markup import Markup, Section, note, numbers, tag, text
from edge.report.plots import curve_figure

_MARKS = {
    Verdict.HOLDS: ("●", "within"),
    Verdict.FAILS: ("○", "beyond"),
    Verdict.OPEN: ("◐", None),
    Verdict.UNKNOWN: ("–", None),
}
"""Beside the words of a verdict, and their class in the style sheet."""


def claims_section(record: LabRecord, model: str) -> Section:
    """Everything about a lab, beside the page's own model `model`."""
    other = f"It is a lab of {record.model}, not of {model}, whose trace this page shows. "
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    what = note(
        *([tag("strong", other)] if record.model != model else []),
        f"Claims about attention and the FFN, tried on {record.model} with {record.engine} ({versions}), on "
        f"{record.passage_tokens:,} tokens of the text '{record.source}' and on texts that experiments make. ",
        "A claim holds where the whole 95% interval of each effect is on the claimed side of its threshold; it does "
        "not hold where one is on the other side, and is not shown where one includes the threshold or its sample is "
        "too small. A verdict is of this model on these texts. Baseline: what chance, or the absence of what is "
        "claimed, would give. Points and cells show their numbers under the mouse; the file of the lab has all of "
        "them.",
    )
    told = (_claim(place, tried) for place, tried in enumerate(record.tried))
    return Section("lab", "Lab", (what, _summary(record), *told, _contrast(record)))


def _summary(record: LabRecord) -> Markup:
    counts = Counter(tried.finding.verdict for tried in record.tried)
    caption = "; ".join(f"{verdict}: {counts[verdict]}" for verdict in Verdict if counts[verdict])
    rows = (
        (tag("a", tried.key, href=f"#{_id(place)}"), tried.claim, _verdict(tried.finding), tried.finding.reason)
        for place, tried in enumerate(record.tried)
    )
    return numbers(
        f"All claims. {caption or 'None was tried'}.", ("", "claim", "verdict", "why"), rows, kind="told verdicts"
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


def _claim(place: int, tried: Tried) -> Markup:
    """One claim: what was asked and how, what was found, and the numbers and pictures behind it."""
    finding = tried.finding
    title = tag("h3", f"{tried.key} {tried.claim}: ", _verdict(finding), id=_id(place))
    facts = (
        ("how", tried.how),
        ("rule", tried.rule),
        ("source", tried.source),
        ("cost", f"{tried.cost_tokens:,} tokens fed beyond the text; {show_measured(tried.took_s, 's')} s"),
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
    told = dict.fromkeys((finding.reason, finding.says))
    said = (tag("p", tried.asks, class_="note"), *(tag("p", words, class_="found") for words in told))
    return tag("div", title, *said, *measured, *pictures, basis, class_="claim")


def _effects(effects: tuple[Effect, ...]) -> Markup:
    rows = (
        (
            effect.means,
            show_with_unit(effect.value, effect.unit),
            effect.interval,
            effect.wanted,
            str(effect.verdict),
            effect.baseline,
            "counted" if effect.sample is None else f"{effect.sample:,} {effect.of}",
            tag("code", effect.key),
        )
        for effect in effects
    )
    heads = ("", "effect", "95% interval", "the claim asks", "by itself", "the threshold is", "sample", "name")
    return numbers("Effects", heads, rows, kind="measured")


def _numbers(measured: tuple[Number, ...]) -> Markup:
    rows = (
        (
            number.means,
            show_measured(number.value, number.unit),
            "" if number.baseline is None else show_measured(number.baseline, number.unit),
            number.unit,
            tag("code", number.key),
        )
        for number in measured
    )
    return numbers("Measured", ("", "value", "baseline", "unit", "name"), rows, kind="measured")


def _contrast(record: LabRecord) -> Markup:
    rows = ((aspect.name, aspect.attention, aspect.ffn) for aspect in contrast(record))
    table = numbers(
        "Each aspect with this lab's own numbers; a dash stands for what was not measured.",
        ("", "attention", "FFN"),
        rows,
        kind="told",
    )
    return tag("div", tag("h3", "Attention beside the FFN"), table, class_="claim")
