"""Writes docs/lab.md: the lab on the bundled models and on further ones, and the agreement of engines.

python -m tests.bench.lab docs/lab.md [MODEL|RECORD.json "what the model is" ...]

A record is the output of `edge lab MODEL --json`.
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
from edge.report.markup import source_title

BUNDLED = ("fable-relu", "fable-gelu", "fable-moe")
ENGINES = ("onnx", "torch", "mlx")
TIMED = {
    f"{what}{number}"
    for what in ("", "prefill_", "ffn_", "attention_", "ffn_prefill_", "attention_prefill_")
    for number in ("time_ms", "time_share", "coverage")
}
"""Keys of numbers that depend on times, which differ between runs."""

PICTURE = "lab-sparsity.svg"
_COLORS = ("#3b6ea5", "#d98c3f", "#5b8c5a", "#8c5a86")

_OPENING = """# The lab on the bundled models and on a published model

Written by `make lab`. Sixteen claims about attention, the FFN and the experts of a mixture. `fable-relu` and
`fable-gelu` differ only in the activation of the FFN: data, order, seed, sizes and steps are the same. In `fable-moe`
each FFN is a mixture of experts; it was trained on the same batches, but has other norms, gates and biases. To test
another model: `edge lab MODEL`.

A verdict follows from the effects below it, and applies to this model on these texts. Each effect has a 95% interval
and a threshold. A claim is *supported* if the whole interval of every effect is on the claimed side. It is *not
supported* if one interval is on the other side, and *inconclusive* if an interval includes its threshold or the sample
is too small. *Baseline*: the value expected by chance, or without the claimed effect.
"""

_SUMMARY = """## Summary

- **Exact zeros come from the activation function.** The two dense bundled models predict text, copy and recall equally
  well, but only with ReLU are most neurons inactive. With GELU and SwiGLU, many activations are small and hardly any
  neuron is inactive, so a number needs its definition (F6).
- **Routing is sparsity by whole experts.** Three quarters of the neurons of `fable-moe` belong to experts that a token
  does not choose. The same token mostly gets the same experts; tokens at the same position do not, beyond chance (F6,
  R1). The choice of experts also adds dimensions, with or without an activation function (F3).
- **Attention is linear if its pattern is fixed.** The pattern itself depends on the text (F1, A1).
- **Copying needs attention.** With all FFNs ablated, the bundled models still predict most repeats; with attention
  ablated, none (S2). They have several induction heads, so no single one is needed.
- **In SmolLM2, FFNs of the first layers restore a fact at its subject, those of middle layers little.** FFNs around the
  first layer restore nearly all of the probability that corrupting the subject removes, and attention there restores
  none. Windows without the first layer restore less than a tenth. In the six layers of the bundled models, a fact is
  restored at the last token of the prompt (F5).
- **A neuron's promoted token follows its top trigger more often than by chance, but rarely.** The claim requires an
  agreement rate of 1 percentage point above chance. The bundled models reach it. SmolLM2, with its larger vocabulary,
  is above chance by less than that (F4).
- **Shares of parameters are not shares of time.** Most parameters of the layers are in FFNs. The interval of their
  share of time includes unattributed time and the time that timers add, which is much in small models (S3).
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
    """Writes the page and its figure, from labs of the bundled models on every engine and of other models."""
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
            f"{record.passage_tokens:,} tokens of {source_title(record.source)}."
        )
    yield ""
    yield from _verdicts(shown)
    yield _SUMMARY
    yield from ("## Sparsity by every definition", "", f"![Sparsity by every definition]({PICTURE})", "")
    for record in shown[:1] + shown[len(BUNDLED) :]:
        yield from (f"## Attention and FFN of {record.model}", "")
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
    """One claim: its question, the effects and numbers of each model, and the method."""
    yield from (f"## {one.key} {one.title}", "", one.question, "")
    for name, own in zip(names, results, strict=True):
        yield f"- **{name}: {own.finding.verdict}.** {_plain(own.finding.reason)}"
        if own.finding.summary != own.finding.reason:
            yield f"  {_plain(own.finding.summary)}"
    yield ""
    if any(own.finding.effects for own in results):
        yield from _heads(names, "effect", " criterion |")
        yield from _effects(results)
        yield ""
    if any(own.finding.numbers for own in results):
        yield from _heads(names, "number", " baseline |")
        yield from _numbers(results)
        yield ""
    yield from (f"*Method.* {one.method}", "", f"*Rule.* {one.rule}", "", f"*Source.* {one.source}", "")


def _effects(results: list[ClaimResult]) -> Iterator[str]:
    """One row per effect: the value and the interval of each model."""
    by_key = [{effect.key: effect for effect in own.finding.effects} for own in results]
    for key in dict.fromkeys(key for effects in by_key for key in effects):
        own = [effects.get(key) for effects in by_key]
        first = next(effect for effect in own if effect is not None)
        cells = ["–" if one is None else f"{show_with_unit(one.value, one.unit)} {one.interval}" for one in own]
        criteria = dict.fromkeys(one.criterion for one in own if one is not None)
        yield f"| {first.label} | {' | '.join(cells)} | {' · '.join(criteria)} |"


def _numbers(results: list[ClaimResult]) -> Iterator[str]:
    """One row per number: the value of each model, and the baselines."""
    by_key = [{number.key: number for number in own.finding.numbers} for own in results]
    for key in dict.fromkeys(key for numbers in by_key for key in numbers):
        own = [numbers.get(key) for numbers in by_key]
        first = next(number for number in own if number is not None)
        cells = ["–" if one is None else show_with_unit(one.value, one.unit) for one in own]
        baselines = [show_measured(n.baseline, n.unit) for n in own if n is not None and n.baseline is not None]
        yield f"| {first.label} | {' | '.join(cells)} | {' · '.join(dict.fromkeys(baselines))} |"


def _plain(words: str) -> str:
    """Text escaped for Markdown."""
    return words.replace("*", r"\*").replace("|", r"\|").replace("<", "&lt;").replace("_", r"\_")


def difference(one: Number, other: Number) -> float:
    """The difference of two engines in a number: absolute, or relative if the number is above 1."""
    if math.isnan(one.value) and math.isnan(other.value):
        return 0.0
    return abs(one.value - other.value) / max(1.0, abs(one.value))


def _agreement(records: dict[tuple[str, str], LabRecord]) -> Iterator[str]:
    yield from ("## Agreement of engines", "")
    yield "Largest difference from onnx in the numbers of a claim; relative for numbers above 1. Times are left out."
    yield "The verdict of S3 depends on times, and may differ."
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
            same = "" if one.finding.verdict is other.finding.verdict else ", different verdict"
            cells.append(f"{show_number(worst)}{same}")
        yield f"| {first.key} | {' | '.join(cells)} |"
    yield ""


def draw_sparsity(records: list[LabRecord], file: Path) -> None:
    """Writes an SVG: every definition of F6, with one bar per model and a mark for a Gaussian vector."""
    found = [next(one for one in record.results if one.key == "F6").finding.numbers for record in records]
    numbers = [number for number in found[0] if number.unit in ("share", "ratio")]
    figure = Figure(figsize=(9, 1.6 + 1.5 * len(records)), facecolor="white", layout="constrained")
    panel, places = figure.subplots(), np.arange(len(numbers))
    height = 0.8 / len(records)
    for index, (record, own) in enumerate(zip(records, found, strict=True)):
        by_key = {number.key: number.value for number in own}
        offset = 0.4 - height * (index + 0.5)
        values = [by_key[number.key] for number in numbers]
        panel.barh(places - offset, values, 0.95 * height, color=_COLORS[index % len(_COLORS)], label=record.model)
    bases = [(place, number.baseline) for place, number in enumerate(numbers) if number.baseline is not None]
    panel.plot([base for _, base in bases], [place for place, _ in bases], "k|", ms=18, label="Gaussian vector")
    panel.set_yticks(places, [number.label for number in numbers])
    panel.invert_yaxis()
    panel.set_xlim(0, 1)
    panel.set_xlabel("share, 0 to 1: mean over layers and tokens")
    figure.legend(loc="outside lower center", fontsize="small", ncols=3, frameon=False)
    with matplotlib.rc_context({"svg.hashsalt": "edge", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
