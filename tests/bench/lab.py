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

_OPENING = """# Lab results for the two bundled models and a published model

Written by `make lab`. The lab tests fifteen claims about attention and the FFN. The two bundled models differ only in
the activation of the FFN, ReLU or GELU. Their training data, data order, seed, shape and steps are the same. To test
another model: `edge lab MODEL`.

A verdict follows from the measured effects, and is valid for one model on these texts. Each effect has a 95% confidence
interval and a threshold. A claim is *supported* if the whole interval of every effect is on the claimed side of its
threshold. It is *not supported* if the interval of one effect is on the other side. It is *inconclusive* if an interval
includes its threshold or the sample is too small. *Baseline* is the value that chance, or the absence of the claimed
effect, would give.
"""

_LESSONS = """## What the models show

- **Exact zeros come from the activation function.** Both bundled models predict text, copy and recall about equally
  well. Only with ReLU are most activations exactly zero. GELU and SwiGLU give many small activations and almost no
  zeros, so a sparsity figure needs its definition (F6).
- **Attention is linear once its pattern is fixed.** The pattern itself is computed anew for each text (F1, A1).
- **Attention does the copying.** With every FFN ablated, the bundled models still predict most repeated tokens. With
  attention ablated, they predict none (S2). Several heads find repeats, so ablating a single one changes little.
- **The first FFN restores a fact at its subject, middle layers do not.** In SmolLM2, FFNs around the first layer
  restore nearly all of what noise on the subject destroys, and attention there restores nothing. Windows without the
  first layer restore less than a tenth. In the six layers of the bundled models, the fact is restored at the end of
  the prompt (F5).
- **Value vectors agree with their trigger tokens rarely, but more often than by chance.** The claim asks for an
  agreement of one in a hundred above chance. The bundled models pass, SmolLM2 with its larger vocabulary does not (F4).
- **The share of parameters is not the share of time.** Most parameters of the layers belong to the FFN. Timing inside a
  pass has an error, which the interval of the time share includes; in small models it is large (S3). Other processes
  ran on the machine that wrote this page, which widens it further.
"""


def main(arguments: list[str]) -> int:
    """The command. Returns the exit code."""
    if not len(arguments) % 2:
        print(__doc__, file=sys.stderr)
        return 2
    page = Path(arguments[0])
    records = {(bundled, engine): _tested(bundled, engine) for engine in ENGINES for bundled in BUNDLED}
    others = {
        about: open_lab(Path(one)) if one.endswith(".json") else _tested(one, ENGINES[0])
        for one, about in zip(arguments[1::2], arguments[2::2], strict=True)
    }
    write(page, records, others)
    return 0


def write(page: Path, records: dict[tuple[str, str], LabRecord], others: dict[str, LabRecord]) -> None:
    """The page and its picture, from labs of the bundled models on every engine and of other models."""
    shown = [*(records[bundled, ENGINES[0]] for bundled in BUNDLED), *others.values()]
    draw_sparsity(shown, page.parent / PICTURE)
    about = ["bundled with Edge"] * len(BUNDLED) + list(others)
    page.write_text("\n".join([*_page(shown, about), *_agreement(records)]), encoding="utf8")
    print_message(f"written to {page}")


def _tested(model: str, engine: str) -> LabRecord:
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
    for place, first in enumerate(shown[0].results):
        yield from _claim([record.model for record in shown], first, [record.results[place] for record in shown])


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


def _claim(names: list[str], one: ClaimResult, results: list[ClaimResult]) -> Iterator[str]:
    """One claim: what was asked, the effects and numbers of each model, and how."""
    yield from (f"## {one.key} {one.title}", "", one.question, "")
    for name, own in zip(names, results, strict=True):
        yield f"- **{name}: {own.finding.verdict}.** {_plain(own.finding.reason)}"
        if own.finding.summary != own.finding.reason:
            yield f"  {_plain(own.finding.summary)}"
    yield ""
    if any(own.finding.effects for own in results):
        yield from _heads(names, "effect", " threshold |")
        yield from _effects(results)
        yield ""
    if any(own.finding.numbers for own in results):
        yield from _heads(names, "number", " baseline |")
        yield from _numbers(results)
        yield ""
    yield from (f"*Method.* {one.method}", "", f"*Rule.* {one.rule}", "", f"*Source.* {one.source}", "")


def _effects(results: list[ClaimResult]) -> Iterator[str]:
    """A row an effect: of each model the value and its interval."""
    by_key = [{effect.key: effect for effect in own.finding.effects} for own in results]
    for key in dict.fromkeys(key for effects in by_key for key in effects):
        own = [effects.get(key) for effects in by_key]
        first = next(effect for effect in own if effect is not None)
        cells = ["–" if one is None else f"{show_with_unit(one.value, one.unit)} {one.interval}" for one in own]
        wanted = dict.fromkeys(one.criterion for one in own if one is not None)
        yield f"| {first.label} | {' | '.join(cells)} | {' · '.join(wanted)} |"


def _numbers(results: list[ClaimResult]) -> Iterator[str]:
    """One row per number, and the baselines."""
    by_key = [{number.key: number for number in own.finding.numbers} for own in results]
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
    yield from ("## Agreement between engines", "")
    yield "Largest difference from onnx in any number of a claim; relative if the number is above 1."
    yield "Times are not compared. The verdict that depends on them (S3) may differ."
    yield ""
    columns = [(bundled, engine) for bundled in BUNDLED for engine in ENGINES[1:]]
    yield "| | " + " | ".join(f"{bundled}, {engine}" for bundled, engine in columns) + " |"
    yield "| --- |" + " ---: |" * len(columns)
    for place, first in enumerate(records[BUNDLED[0], ENGINES[0]].results):
        cells = []
        for bundled, engine in columns:
            one, other = records[bundled, ENGINES[0]].results[place], records[bundled, engine].results[place]
            pairs = zip(one.finding.numbers, other.finding.numbers, strict=True)
            worst = max((difference(a, b) for a, b in pairs if a.key not in TIMED), default=0.0)
            same = "" if one.finding.verdict is other.finding.verdict else ", another verdict"
            cells.append(f"{show_number(worst)}{same}")
        yield f"| {first.key} | {' | '.join(cells)} |"
    yield ""


def draw_sparsity(records: list[LabRecord], file: Path) -> None:
    """Writes an SVG: every definition of F6, one bar per model, and a mark for a Gaussian vector."""
    found = [next(result for result in record.results if result.key == "F6").finding.numbers for record in records]
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
