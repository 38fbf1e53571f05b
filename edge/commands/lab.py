"""`edge lab`: test the claims about attention and the FFN on a model."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.commands.options import engine_options, open_model, print_message, table_options
from edge.commands.survey import survey_text
from edge.tables import Column, Table
from models.errors import MisuseError
from models.json_text import json_text

if TYPE_CHECKING:
    from edge.lab.claim import Experiment
    from edge.lab.context import LabContext
    from edge.lab.run import ClaimResult, LabRecord

_FILE = click.Path(path_type=Path)


@click.command(
    epilog="""\b
    Examples:
      edge lab fable-relu
      edge lab fable-relu --claim F6 --claim A2 -e torch
      edge lab path/to/checkpoint -e mlx --text path/to/text --json > lab.json
      edge lab fable-relu --survey path/to/text --keep survey.json
    """
)
@click.argument("model")
@engine_options
@click.option(
    "--claim", "claims", multiple=True, help="Test only this claim, such as F4; may be repeated.  [default: all]"
)
@click.option("--text", type=_FILE, help="Text file to read.  [default: a built-in English text]")
@click.option(
    "--tokens", type=int, help="Maximum number of tokens of the text.  [default: 2,048, or as many as fit in 1 GB]"
)
@click.option(
    "--questions", type=_FILE, help="File of facts for recall tests, one per line: prompt TAB subject TAB answer."
)
@click.option("--survey", type=_FILE, help="Measure heads and neurons over this text file instead of testing claims.")
@click.option("--keep", type=_FILE, help="File to save the survey in; an interrupted survey resumes from it.")
@click.option("--part", help="Survey only a part of the text: 1/2 and 2/2 are its halves.")
@click.option("--add", type=_FILE, multiple=True, help="Add the survey saved in this file; may be repeated.")
@table_options
def lab(
    model: str,
    engine: str,
    threads: int | None,
    claims: tuple[str, ...],
    text: Path | None,
    tokens: int | None,
    questions: Path | None,
    survey: Path | None,
    keep: Path | None,
    part: str | None,
    add: tuple[Path, ...],
    layout: str | None,
) -> None:
    """Test claims about attention and the FFN on MODEL: effects, 95% intervals, verdicts.

    Use it to check whether statements from the literature are true of a model.

    \b
    F1 to F6  the FFN: non-linear, position-wise, wide, key-value memory, factual recall, sparse
    A1 to A6  attention: dynamic weighted sum, token pairs, distance, context, specialized heads, routing
    R1        mixtures of experts: specialized experts
    S1 to S3  the stack: local to semantic, both sublayers are needed, parameters and time

    A claim is supported if the 95% interval of every effect is on the claimed side of its threshold. It is not
    supported if one interval is on the other side. It is inconclusive if an interval includes the threshold or a sample
    is too small. Verdicts apply to this model on these texts.

    A claim shows its verdict, the reason, a summary, and further numbers. A baseline is the value at chance level, or
    the value if the claim were false. A table of all effects and a comparison of attention and the FFN follow. CSV has
    one row per effect and one per number; JSON has all results, and 'edge report TRACE --lab FILE' draws them.
    """
    _check(survey, (claims, text, tokens, questions), (keep, part, add), tokens)
    if survey is not None:
        with open_model(model, engine, threads, "edge lab") as opened:
            survey_text(opened, survey, keep, part, add, layout)
        return
    from edge.compare.tokenized_text import beginning
    from edge.lab.context import MAX_PASSAGE_TOKENS, LabContext
    from edge.lab.prompts import read_questions
    from edge.lab.registry import EXPERIMENTS
    from edge.lab.run import chosen

    wanted = chosen(EXPERIMENTS, claims)
    source, words = ("built in", None) if text is None else (text.name, beginning(text, tokens or MAX_PASSAGE_TOKENS))
    facts = None if questions is None else read_questions(questions)
    with open_model(model, engine, threads, "edge lab") as opened:
        context = LabContext(opened, text=words, source=source, tokens=tokens, questions=facts, progress=print_message)
        _test(context, wanted, layout)


def _check(
    survey: Path | None, of_claims: tuple[object, ...], of_survey: tuple[object, ...], tokens: int | None
) -> None:
    """Rejects options that do not apply with or without --survey, before a model is opened."""
    if survey is not None and any(given not in (None, ()) for given in of_claims):
        raise MisuseError("--survey tests no claims; remove --claim, --text, --tokens and --questions")
    if survey is None and any(given not in (None, ()) for given in of_survey):
        raise MisuseError("--keep, --part and --add require --survey; add --survey TEXT")
    if tokens is not None and tokens < 3:
        raise MisuseError(f"--tokens is {tokens}; the minimum is 3")


def _test(lab: "LabContext", wanted: "list[Experiment]", layout: str | None) -> None:
    """Prints each claim as soon as it is tested; JSON and CSV at the end."""
    from edge.lab.record import to_json
    from edge.lab.run import lab_record, run_all

    results = []
    for one in run_all(lab, wanted):
        results.append(one)
        if layout is None:
            click.echo(f"{_finding_text(one)}\n")
    record = lab_record(lab, results)
    match layout:
        case None:
            click.echo("\n\n".join(filter(None, [effect_table(record).text(), _contrast(record, "text")])))
        case "json":
            click.echo(json_text(to_json(record)))
        case "csv":
            from edge.lab.number_table import number_table

            click.echo(number_table(record).csv())
        case _:
            parts = (claim_table(record).markdown(), effect_table(record).markdown(), _contrast(record, "md"))
            click.echo("\n\n".join(filter(None, parts)))


def _finding_text(result: "ClaimResult") -> str:
    """One claim for people: the verdict, the reason for it, and all other numbers."""
    from edge.picture.units import show_with_unit

    finding = result.finding
    lines = [f"{result.key}  {result.title}: {finding.verdict.upper()}"]
    lines += [f"    {text}" for text in dict.fromkeys((finding.reason, finding.summary))]
    values = [show_with_unit(number.value, number.unit) for number in finding.numbers]
    cells = max(map(len, values), default=0)
    for number, value in zip(finding.numbers, values, strict=True):
        baseline = "" if number.baseline is None else f"   baseline {show_with_unit(number.baseline, number.unit)}"
        lines.append(f"    {value:>{cells}}  {number.label}{baseline}")
    return "\n".join(lines)


def claim_table(record: "LabRecord") -> Table:
    """One row for each claim."""
    columns = tuple(Column(key, heading) for key, heading in _CLAIM_COLUMNS)
    rows = [
        (one.key, one.title, str(one.finding.verdict), one.finding.reason, one.finding.summary)
        for one in record.results
    ]
    return Table(columns, rows)


_CLAIM_COLUMNS = (("key", ""), ("claim", "claim"), ("verdict", "verdict"), ("reason", "why"), ("summary", "found"))


def effect_table(record: "LabRecord") -> Table:
    """One row for each effect, for people; the verdict of the claim is in the row of its first effect."""
    from edge.picture.units import show_with_unit

    names = ("claim", "verdict", "effect", "value", "95% interval", "criterion", "verdict of the effect")
    rows: list[tuple[str, ...]] = []
    for one in record.results:
        claims = [(one.key, str(one.finding.verdict)), *[("", "")] * len(one.finding.effects)]
        for claim, e in zip(claims, one.finding.effects, strict=False):
            value = show_with_unit(e.value, e.unit)
            rows.append((*claim, e.label, value, e.interval, e.criterion, str(e.verdict)))
        if not one.finding.effects:
            rows.append((*claims[0], "", "", "", "", ""))
    return Table([Column(name, name) for name in names], rows)


def _contrast(record: "LabRecord", layout: str) -> str:
    """The comparison of attention and FFN; empty without any of its numbers."""
    from edge.lab.contrast import measured_aspects

    aspects = measured_aspects(record)
    if not aspects:
        return ""
    if layout == "md":
        columns = (Column("aspect", ""), Column("attention", "attention"), Column("ffn", "FFN"))
        return Table(columns, [(one.name, one.attention, one.ffn) for one in aspects]).markdown()
    rows = [f"{one.name}\n    attention  {one.attention}\n    FFN        {one.ffn}" for one in aspects]
    return "\n".join(["Attention and the FFN (–: not measured)", *rows])
