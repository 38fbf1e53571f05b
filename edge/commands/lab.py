"""`edge lab`: the claims about attention and FFN, tried on a model."""

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
    from edge.lab.run import LabRecord, Tried
    from edge.lab.subject import Subject

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
@click.option("--claim", "claims", multiple=True, help="Only this claim, such as F4; may be repeated.  [default: all]")
@click.option("--text", type=_FILE, help="A text file to read.  [default: English of Edge's]")
@click.option("--tokens", type=int, help="Tokens of the text at most.  [default: 2,048, or what a gigabyte can hold]")
@click.option("--questions", type=_FILE, help="Facts to ask for, a line each: prompt TAB subject TAB answer.")
@click.option("--survey", type=_FILE, help="Instead, measure heads and neurons over this whole text.")
@click.option("--keep", type=_FILE, help="File of the survey: written as it goes, and gone on with.")
@click.option("--part", help="Survey a part of the text alone: 1/2 and 2/2 are its halves.")
@click.option("--add", type=_FILE, multiple=True, help="Add the survey kept in this file; may be repeated.")
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
    """Try the claims about attention and the FFN on MODEL, each with effects, their 95% intervals and a verdict.

    \b
    F1 to F6  the FFN: non-linear, one position at a time, wide, a key-value memory, recall of facts, sparse
    A1 to A6  attention: a dynamic weighted sum, pairs, window, context, many heads, routes
    S1 to S3  the stack: from local to semantic, both are needed, parameters and time

    A claim holds where the whole interval of each effect is on the claimed side of its threshold, does not hold where
    one is on the other side, and is not shown where one includes the threshold or its sample is too small. It ends
    with a table of all effects, and attention beside the FFN. A verdict is of this model on these texts. CSV has a row
    an effect and a row a number; JSON has everything, and 'edge report TRACE --lab FILE' draws it.
    """
    _check(survey, (claims, text, tokens, questions), (keep, part, add), tokens)
    if survey is not None:
        with open_model(model, engine, threads) as opened:
            survey_text(opened, survey, keep, part, add, layout)
        return
    from edge.compare.tokenized_text import beginning
    from edge.lab.prompts import read_questions
    from edge.lab.registry import EXPERIMENTS
    from edge.lab.run import chosen
    from edge.lab.subject import PASSAGE_TOKENS, Subject

    wanted = chosen(EXPERIMENTS, claims)
    told = None if text is None else beginning(text, tokens or PASSAGE_TOKENS)
    source = "built in" if text is None else text.name
    asked = None if questions is None else read_questions(questions)
    with open_model(model, engine, threads) as opened:
        _try(
            Subject(opened, text=told, source=source, tokens=tokens, asked=asked, progress=print_message),
            wanted,
            layout,
        )


def _check(
    survey: Path | None, of_claims: tuple[object, ...], of_survey: tuple[object, ...], tokens: int | None
) -> None:
    """Refuses options that belong to the other kind of lab, before a model is opened."""
    if survey is not None and any(given not in (None, ()) for given in of_claims):
        raise MisuseError(
            "--survey reads a whole text and tries no claims; leave --claim, --text, --tokens and --questions out"
        )
    if survey is None and any(given not in (None, ()) for given in of_survey):
        raise MisuseError("--keep, --part and --add belong to a survey; add --survey TEXT")
    if tokens is not None and tokens < 3:
        raise MisuseError(f"--tokens is {tokens}; the lab reads 3 at least")


def _try(subject: "Subject", wanted: "list[Experiment]", layout: str | None) -> None:
    """Tells people each claim as it is tried, scripts all at the end."""
    from edge.lab.record import to_json
    from edge.lab.run import recorded, try_all

    tried = []
    for one in try_all(subject, wanted):
        tried.append(one)
        if layout is None:
            click.echo(f"{_finding_text(one)}\n")
    record = recorded(subject, tried)
    match layout:
        case None:
            click.echo("\n\n".join([effect_table(record).text(), _contrast(record, "text")]))
        case "json":
            click.echo(json_text(to_json(record)))
        case "csv":
            from edge.lab.number_table import number_table

            click.echo(number_table(record).csv())
        case _:
            parts = (claim_table(record).markdown(), effect_table(record).markdown(), _contrast(record, "md"))
            click.echo("\n\n".join(parts))


def _finding_text(tried: "Tried") -> str:
    """One claim for people: the verdict first, then why, then what else was measured."""
    from edge.picture.units import show_with_unit

    finding = tried.finding
    lines = [f"{tried.key}  {tried.claim}: {finding.verdict.upper()}"]
    lines += [f"    {told}" for told in dict.fromkeys((finding.reason, finding.says))]
    for number in finding.numbers:
        beside = "" if number.baseline is None else f"   beside {show_with_unit(number.baseline, number.unit)}"
        lines.append(f"    {show_with_unit(number.value, number.unit):>12}  {number.means}{beside}")
    return "\n".join(lines)


def claim_table(record: "LabRecord") -> Table:
    """A row a claim."""
    columns = tuple(Column(key, heading) for key, heading in _CLAIM_COLUMNS)
    rows = [
        (one.key, one.claim, str(one.finding.verdict), one.finding.reason, one.finding.says) for one in record.tried
    ]
    return Table(columns, rows)


_CLAIM_COLUMNS = (("key", ""), ("claim", "claim"), ("verdict", "verdict"), ("reason", "why"), ("says", "found"))


def effect_table(record: "LabRecord") -> Table:
    """A row an effect, for people: how large it is, what its claim asks of it, and whether it is so; the verdict of the
    claim stands at its first effect."""
    from edge.picture.units import show_with_unit

    names = ("claim", "verdict", "effect", "value", "95% interval", "asked", "by itself")
    rows: list[tuple[str, ...]] = []
    for one in record.tried:
        claims = [(one.key, str(one.finding.verdict)), *[("", "")] * len(one.finding.effects)]
        for claim, e in zip(claims, one.finding.effects, strict=False):
            value = show_with_unit(e.value, e.unit)
            rows.append((*claim, e.means, value, e.interval, e.wanted, str(e.verdict)))
        if not one.finding.effects:
            rows.append((*claims[0], "", "", "", "", ""))
    return Table([Column(name, name) for name in names], rows)


def _contrast(record: "LabRecord", layout: str) -> str:
    from edge.lab.contrast import contrast

    aspects = contrast(record)
    if layout == "md":
        columns = (Column("aspect", ""), Column("attention", "attention"), Column("ffn", "FFN"))
        return Table(columns, [(one.name, one.attention, one.ffn) for one in aspects]).markdown()
    told = [f"{one.name}\n    attention  {one.attention}\n    FFN        {one.ffn}" for one in aspects]
    return "\n".join(["Attention beside the FFN", *told])
