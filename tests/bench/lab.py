"""Writes docs/lab.md: both twins of the zoo in the lab, side by side, and how far the engines agree on every number.

python -m tests.bench.lab docs/lab.md
"""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import edge
from edge.commands.options import tell
from edge.lab.claim import Number
from edge.lab.contrast import contrast
from edge.lab.registry import EXPERIMENTS
from edge.lab.run import LabRecord, Tried, recorded, try_all
from edge.lab.subject import Subject
from edge.picture.units import show_measured, show_number, show_with_unit

TWINS = ("fable-relu", "fable-gelu")
ENGINES = ("onnx", "torch", "mlx")
TIMED = {
    f"{what}{number}"
    for what in ("", "prefill_", "ffn_", "attention_", "ffn_prefill_", "attention_prefill_")
    for number in ("time_ms", "time_share", "coverage")
}
"""Keys of numbers that are times, which no two runs share."""

PICTURE = "lab-sparsity.svg"

_OPENING = """# The lab on the twins

Written by `make lab`. Fifteen claims about attention and the FFN, tried on the two models that come with Edge. They
differ in the FFN's activation alone, ReLU against GELU: same data, order, seed, shape and steps. On any other model:
`edge lab MODEL`.

A verdict follows from the rule beside it, and is of this model on these texts. A claim that does not hold here may
hold of larger models; the numbers say by how much it misses. *Beside* is what chance, or the absence of what is
claimed, would give.
"""

_LESSONS = """## What the twins teach

- **Silence comes from the activation, not from what is learned.** Both twins read text, copy and recall alike; only
  with ReLU are neurons exactly 0. Definitions that count small values (top-p, CETT, Gini) find the GELU twin no
  sparser than a Gaussian vector, while its energy still gathers in few neurons: a number needs its definition (F6).
- **Attention's part is exact.** With its pattern held still it is a linear map, and the pattern is made anew for each
  text (F1, A1).
- **Copying is attention's.** With every FFN silenced most repeats are still foretold; with attention silenced none
  (S2). A whole layer of heads looks for repeats, so that no single one of them is missed; what is missed most is a
  head before them that looks one token back. Score and cost of removal are therefore not ranked alike (A2).
- **Recall is where the claim is weakest.** In six layers the answer comes back when the last token of the prompt is
  restored, by attention as much as by the FFN, and hardly at the subject: what was found in models eight times as
  deep is not seen here (F5).
- **Shares of parameters are not shares of time.** Two thirds of the layers' parameters are the FFN's. How much of the
  time is, the engine decides: in models as small as these calls cost more than numbers (S3).
"""


def main(arguments: list[str]) -> int:
    """The command. Returns the exit code."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    page = Path(arguments[0])
    records = {(twin, engine): _tried(twin, engine) for engine in ENGINES for twin in TWINS}
    draw_sparsity([records[twin, "onnx"] for twin in TWINS], page.parent / PICTURE)
    page.write_text("\n".join(_page(records)), encoding="utf8")
    tell(f"written to {page}")
    return 0


def _tried(twin: str, engine: str) -> LabRecord:
    with edge.load(twin, engine) as model:
        tell(f"{twin} on {engine}")
        subject = Subject(model, progress=tell)
        return recorded(subject, try_all(subject, EXPERIMENTS))


def _page(records: dict[tuple[str, str], LabRecord]) -> Iterator[str]:
    first, second = (records[twin, "onnx"] for twin in TWINS)
    yield _OPENING
    edge_version, tokens = first.versions["edge"], first.passage_tokens
    yield f"On `{first.engine}`, edge {edge_version}, {tokens:,} tokens of text ({first.source})."
    yield ""
    yield from _verdicts(first, second)
    yield _LESSONS
    yield from ("## Sparsity by every definition", "", f"![Sparsity of the twins by every definition]({PICTURE})", "")
    yield from ("## Attention beside the FFN", "", f"Measured on `{first.model}`.", "")
    yield from ("| | attention | FFN |", "| --- | --- | --- |")
    yield from (f"| {one.name} | {one.attention} | {one.ffn} |" for one in contrast(first))
    yield ""
    for one, other in zip(first.tried, second.tried, strict=True):
        yield from _claim(one, other)
    yield from _agreement(records)


def _verdicts(first: LabRecord, second: LabRecord) -> Iterator[str]:
    yield from ("## Verdicts", "", f"| | claim | {first.model} | {second.model} |", "| --- | --- | --- | --- |")
    for one, other in zip(first.tried, second.tried, strict=True):
        yield f"| {one.key} | {one.claim} | {one.finding.verdict} | {other.finding.verdict} |"
    yield ""


def _claim(one: Tried, other: Tried) -> Iterator[str]:
    """One claim: what was asked, what was found on each twin, and how."""
    yield from (f"## {one.key} {one.claim}", "", one.asks, "")
    for twin, tried in zip(TWINS, (one, other), strict=True):
        yield f"- **{twin}: {tried.finding.verdict}.** {_plain(tried.finding.says)}"
    yield ""
    yield from (f"| | {TWINS[0]} | {TWINS[1]} | beside |", "| --- | ---: | ---: | ---: |")
    others = {number.key: number for number in other.finding.numbers}
    for number in one.finding.numbers:
        theirs = others.get(number.key)
        right = "–" if theirs is None else show_with_unit(theirs.value, theirs.unit)
        yield f"| {number.means} | {show_with_unit(number.value, number.unit)} | {right} | {_beside(number, theirs)} |"
    yield from ("", f"*How.* {one.how}", "", f"*Rule.* {one.rule}", "", f"*Source.* {one.source}", "")


def _plain(words: str) -> str:
    """Text that Markdown shows as it is."""
    return words.replace("*", r"\*").replace("|", r"\|").replace("<", "&lt;").replace("_", r"\_")


def _beside(one: Number, other: Number | None) -> str:
    """Both baselines, or the one that they share."""
    told = [show_measured(n.baseline, n.unit) for n in (one, other) if n is not None and n.baseline is not None]
    return " · ".join(dict.fromkeys(told))


def apart(one: Number, other: Number) -> float:
    """How far two engines are apart in a number: absolute, or relative where it is above 1."""
    if math.isnan(one.value) and math.isnan(other.value):
        return 0.0
    return abs(one.value - other.value) / max(1.0, abs(one.value))


def _agreement(records: dict[tuple[str, str], LabRecord]) -> Iterator[str]:
    yield from ("## The same on every engine", "")
    yield "The largest difference to onnx in any number of a claim, relative where the number is above 1."
    yield "Times are left out, and the verdict that follows from them (S3) may differ."
    yield ""
    columns = [(twin, engine) for twin in TWINS for engine in ENGINES[1:]]
    yield "| | " + " | ".join(f"{twin}, {engine}" for twin, engine in columns) + " |"
    yield "| --- |" + " ---: |" * len(columns)
    for place, tried in enumerate(records[TWINS[0], ENGINES[0]].tried):
        cells = []
        for twin, engine in columns:
            one, other = records[twin, ENGINES[0]].tried[place], records[twin, engine].tried[place]
            pairs = zip(one.finding.numbers, other.finding.numbers, strict=True)
            worst = max((apart(a, b) for a, b in pairs if a.key not in TIMED), default=0.0)
            same = "" if one.finding.verdict is other.finding.verdict else ", another verdict"
            cells.append(f"{show_number(worst)}{same}")
        yield f"| {tried.key} | {' | '.join(cells)} |"
    yield ""


def draw_sparsity(records: list[LabRecord], file: Path) -> None:
    """Writes an SVG: every definition of F6, a bar a twin, and a mark for the same of a Gaussian vector."""
    found = [next(tried for tried in record.tried if tried.key == "F6").finding.numbers for record in records]
    numbers = [number for number in found[0] if number.unit == "share"]
    figure = Figure(figsize=(9, 4.6), facecolor="white", layout="constrained")
    panel, places = figure.subplots(), np.arange(len(numbers))
    for offset, record, own, colour in zip((0.2, -0.2), records, found, ("#3b6ea5", "#d98c3f"), strict=True):
        by_key = {number.key: number.value for number in own}
        panel.barh(places + offset, [by_key[number.key] for number in numbers], 0.38, color=colour, label=record.model)
    bases = [(place, number.baseline) for place, number in enumerate(numbers) if number.baseline is not None]
    panel.plot([base for _, base in bases], [place for place, _ in bases], "k|", ms=18, label="a Gaussian vector")
    panel.set_yticks(places, [number.means for number in numbers])
    panel.invert_yaxis()
    panel.set_xlim(0, 1)
    panel.set_xlabel("share, 0 to 1: mean over layers and tokens")
    figure.legend(loc="outside lower center", fontsize="small", ncols=3, frameon=False)
    with matplotlib.rc_context({"svg.hashsalt": "edge", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
