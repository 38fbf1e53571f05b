"""Writes docs/lab.md: the lab on the bundled models and on further ones, and how far engines agree on the bundled ones.

python -m tests.bench.lab docs/lab.md [MODEL|RECORD.json "what the model is" ...]

A record is what `edge lab MODEL --json` wrote.
"""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import edge
from edge.commands.options import print_message
from edge.lab.claim import Number
from edge.lab.context import LabContext
from edge.lab.contrast import contrast
from edge.lab.record import open_lab
from edge.lab.registry import EXPERIMENTS
from edge.lab.run import ClaimResult, LabRecord, lab_record, run_all
from edge.picture.units import show_measured, show_number, show_with_unit

BUNDLED = ("fable-relu", "fable-gelu")
ENGINES = ("onnx", "torch", "mlx")
TIMED = {
    f"{what}{number}"
    for what in ("", "prefill_", "ffn_", "attention_", "ffn_prefill_", "attention_prefill_")
    for number in ("time_ms", "time_share", "coverage")
}
"""Keys of numbers that are times, which no two runs share."""

PICTURE = "lab-sparsity.svg"
_COLORS = ("#3b6ea5", "#d98c3f", "#5b8c5a", "#8c5a86")

_OPENING = """# The lab on the twins and on a published model

Written by `make lab`. Fifteen claims about attention and the FFN. The twins come with Edge; they differ in the FFN's
activation alone, ReLU against GELU: same data, order, seed, shape and steps. On any other model: `edge lab MODEL`.

A verdict follows from the effects below it, and is of this model on these texts. Each effect has a 95% interval and a
threshold. A claim *holds* where the whole interval of each effect is on the claimed side, *does not hold* where one is
on the other side, and is *not shown* where one includes its threshold or its sample is too small. *Beside* is what
chance, or the absence of what is claimed, would give.
"""

_LESSONS = """## What the models teach

- **Silence comes from the activation.** Both twins read text, copy and recall alike; with ReLU alone most neurons are
  off. GELU and SwiGLU have small neurons and hardly any that are off: a number needs its definition (F6).
- **Attention's part is exact.** With its pattern held still it is a linear map, and the pattern is made anew for each
  text (F1, A1).
- **Copying is attention's.** With every FFN ablated most repeats are still predicted by the twins; with attention
  ablated none (S2). Several heads look for repeats, so that no single one of them is squared_errors.
- **A fact comes back at the subject by the first FFN, not by those of middle layers.** In SmolLM2 FFNs around the
  first layer bring back nearly all that blurring the subject costs, attention there nothing; windows that leave the
  first layer out bring back less than a tenth of it. In the six layers of the twins it comes back at the end of the
  prompt (F5).
- **Memories agree with their triggers more often than by chance, and rarely.** The claim asks for one in a hundred
  beyond chance; the twins pass it, SmolLM2 with its larger vocabulary does not (F4).
- **Shares of parameters are not shares of time.** Most of the layers' parameters are the FFN's. What clocks inside a
  pass miss or add is in the interval of their share of the time, and in small models that is much (S3). This page was
  written on a machine that did other work, too, which widens it.
"""


def main(arguments: list[str]) -> int:
    """The command. Returns the exit code."""
    if not len(arguments) % 2:
        print(__doc__, file=sys.stderr)
        return 2
    page = Path(arguments[0])
    records = {(bundled, engine): _tried(bundled, engine) for engine in ENGINES for bundled in BUNDLED}
    others = {
        about: open_lab(Path(one)) if one.endswith(".json") else _tried(one, ENGINES[0])
        for one, about in zip(arguments[1::2], arguments[2::2], strict=True)
    }
    write(page, records, others)
    return 0


def write(page: Path, records: dict[tuple[str, str], LabRecord], others: dict[str, LabRecord]) -> None:
    """The page and its picture, from labs of the bundled models on every engine and of other models."""
    shown = [*(records[bundled, ENGINES[0]] for bundled in BUNDLED), *others.values()]
    draw_sparsity(shown, page.parent / PICTURE)
    about = ["one of the twins that come with Edge"] * len(BUNDLED) + list(others)
    page.write_text("\n".join([*_page(shown, about), *_agreement(records)]), encoding="utf8")
    print_message(f"written to {page}")


def _tried(model: str, engine: str) -> LabRecord:
    with edge.load(model, engine) as opened:
        print_message(f"{model} on {engine}")
        lab = LabContext(opened, progress=print_message)
        return lab_record(lab, run_all(lab, EXPERIMENTS))


def _page(shown: list[LabRecord], about: list[str]) -> Iterator[str]:
    yield _OPENING
    for record, words in zip(shown, about, strict=True):
        yield (
            f"- `{record.model}`: {words}. On `{record.engine}`, edge {record.versions['edge']}, "
            f"{record.passage_tokens:,} tokens of text ({record.source})."
        )
    yield ""
    yield from _verdicts(shown)
    yield _LESSONS
    yield from ("## Sparsity by every definition", "", f"![Sparsity by every definition]({PICTURE})", "")
    for record in shown[:1] + shown[len(BUNDLED) :]:
        yield from ("## Attention beside the FFN", "", f"Measured on `{record.model}`.", "")
        yield from ("| | attention | FFN |", "| --- | --- | --- |")
        yield from (f"| {one.name} | {one.attention} | {one.ffn} |" for one in contrast(record))
        yield ""
    for place, tried in enumerate(shown[0].results):
        yield from _claim([record.model for record in shown], tried, [record.results[place] for record in shown])


def _heads(names: list[str], before: str = "", after: str = "") -> Iterator[str]:
    yield f"| {before} | {' | '.join(names)} |{after}"
    yield f"| --- |{' ---: |' * len(names)}{' ---: |' if after else ''}"


def _verdicts(shown: list[LabRecord]) -> Iterator[str]:
    yield from ("## Verdicts", "", f"| | claim | {' | '.join(record.model for record in shown)} |")
    yield "| --- | --- |" + " --- |" * len(shown)
    for place, one in enumerate(shown[0].results):
        verdicts = " | ".join(str(record.results[place].finding.verdict) for record in shown)
        yield f"| {one.key} | {one.title} | {verdicts} |"
    yield ""


def _claim(names: list[str], one: ClaimResult, tried: list[ClaimResult]) -> Iterator[str]:
    """One claim: what was asked, the effects and numbers of each model, and how."""
    yield from (f"## {one.key} {one.title}", "", one.question, "")
    for name, own in zip(names, tried, strict=True):
        yield f"- **{name}: {own.finding.verdict}.** {_plain(own.finding.reason)}"
        if own.finding.summary != own.finding.reason:
            yield f"  {_plain(own.finding.summary)}"
    yield ""
    if any(own.finding.effects for own in tried):
        yield from _heads(names, "effect", " asked |")
        yield from _effects(tried)
        yield ""
    if any(own.finding.numbers for own in tried):
        yield from _heads(names, "number", " beside |")
        yield from _numbers(tried)
        yield ""
    yield from (f"*How.* {one.method}", "", f"*Rule.* {one.rule}", "", f"*Source.* {one.source}", "")


def _effects(tried: list[ClaimResult]) -> Iterator[str]:
    """A row an effect: of each model the value and its interval."""
    by_key = [{effect.key: effect for effect in own.finding.effects} for own in tried]
    for key in dict.fromkeys(key for effects in by_key for key in effects):
        own = [effects.get(key) for effects in by_key]
        first = next(effect for effect in own if effect is not None)
        cells = ["–" if one is None else f"{show_with_unit(one.value, one.unit)} {one.interval}" for one in own]
        wanted = dict.fromkeys(one.criterion for one in own if one is not None)
        yield f"| {first.label} | {' | '.join(cells)} | {' · '.join(wanted)} |"


def _numbers(tried: list[ClaimResult]) -> Iterator[str]:
    """One row per number, and the baselines."""
    by_key = [{number.key: number for number in own.finding.numbers} for own in tried]
    for key in dict.fromkeys(key for numbers in by_key for key in numbers):
        own = [numbers.get(key) for numbers in by_key]
        first = next(number for number in own if number is not None)
        cells = ["–" if one is None else show_with_unit(one.value, one.unit) for one in own]
        reported = [show_measured(n.baseline, n.unit) for n in own if n is not None and n.baseline is not None]
        yield f"| {first.label} | {' | '.join(cells)} | {' · '.join(dict.fromkeys(reported))} |"


def _plain(words: str) -> str:
    """Text that Markdown shows as it is."""
    return words.replace("*", r"\*").replace("|", r"\|").replace("<", "&lt;").replace("_", r"\_")


def difference(one: Number, other: Number) -> float:
    """How far two engines differ in a number: absolute, or relative where it is above 1."""
    if math.isnan(one.value) and math.isnan(other.value):
        return 0.0
    return abs(one.value - other.value) / max(1.0, abs(one.value))


def _agreement(records: dict[tuple[str, str], LabRecord]) -> Iterator[str]:
    yield from ("## The same on every engine", "")
    yield "The largest difference to onnx in any number of a claim, relative where the number is above 1."
    yield "Times are left out, and the verdict that follows from them (S3) may differ."
    yield ""
    columns = [(bundled, engine) for bundled in BUNDLED for engine in ENGINES[1:]]
    yield "| | " + " | ".join(f"{bundled}, {engine}" for bundled, engine in columns) + " |"
    yield "| --- |" + " ---: |" * len(columns)
    for place, tried in enumerate(records[BUNDLED[0], ENGINES[0]].results):
        cells = []
        for bundled, engine in columns:
            one, other = records[bundled, ENGINES[0]].results[place], records[bundled, engine].results[place]
            pairs = zip(one.finding.numbers, other.finding.numbers, strict=True)
            worst = max((difference(a, b) for a, b in pairs if a.key not in TIMED), default=0.0)
            same = "" if one.finding.verdict is other.finding.verdict else ", another verdict"
            cells.append(f"{show_number(worst)}{same}")
        yield f"| {tried.key} | {' | '.join(cells)} |"
    yield ""


def draw_sparsity(records: list[LabRecord], file: Path) -> None:
    """Writes an SVG: every definition of F6, one bar per model, and a mark for a Gaussian vector."""
    found = [next(tried for tried in record.results if tried.key == "F6").finding.numbers for record in records]
    numbers = [number for number in found[0] if number.unit == "share"]
    figure = Figure(figsize=(9, 1.6 + 1.5 * len(records)), facecolor="white", layout="constrained")
    panel, places = figure.subplots(), np.arange(len(numbers))
    height = 0.8 / len(records)
    for turn, (record, own) in enumerate(zip(records, found, strict=True)):
        by_key = {number.key: number.value for number in own}
        offset = 0.4 - height * (turn + 0.5)
        values = [by_key[number.key] for number in numbers]
        panel.barh(places - offset, values, 0.95 * height, color=_COLORS[turn % len(_COLORS)], label=record.model)
    bases = [(place, number.baseline) for place, number in enumerate(numbers) if number.baseline is not None]
    panel.plot([base for _, base in bases], [place for place, _ in bases], "k|", ms=18, label="a Gaussian vector")
    panel.set_yticks(places, [number.label for number in numbers])
    panel.invert_yaxis()
    panel.set_xlim(0, 1)
    panel.set_xlabel("share, 0 to 1: mean over layers and tokens")
    figure.legend(loc="outside lower center", fontsize="small", ncols=3, frameon=False)
    with matplotlib.rc_context({"svg.hashsalt": "edge", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
