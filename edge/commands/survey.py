"""`edge lab --survey`: measures heads and neurons over a whole text; resumable from a file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.commands.options import is_number, print_message
from edge.tables import Column, Table
from models.errors import EdgeError, MisuseError
from models.json_text import json_text, parse_json

if TYPE_CHECKING:
    from edge.lab.survey import Part, Survey
    from edge.session import Model

KEEP_EVERY = 32
"""The file is written after this many windows."""


def survey_text(
    model: "Model", text: Path, keep: Path | None, part: str | None, add: tuple[Path, ...], layout: str | None
) -> None:
    """Surveys the rest of a text, adds other surveys, and prints the result."""
    from edge.lab.survey import begin, survey
    from edge.lab.survey import to_json as plain

    if keep is not None:
        _check_keep(keep, text, *add)
    started = begin(model, text, _part(part))
    if keep is not None and keep.exists():
        started = _resumed(started, read_survey(keep), keep)
        print_message(f"resuming after {started.tokens:,} tokens")
    found = started
    try:
        for found in survey(model, text, started):
            windows = found.parts[0].windows
            if windows % KEEP_EVERY == 0:
                _write(found, keep)
                print_message(f"{windows:,} windows, {found.tokens:,} tokens")
    finally:
        if found.tokens:
            _write(found, keep)
    for file in add:
        found = found.merged(read_survey(file))
    if not found.tokens:
        raise MisuseError(f"{text} has no tokens for this survey; give a longer text, or another --part")
    match layout:
        case "json":
            click.echo(json_text(plain(found)))
        case _:
            click.echo(survey_table(found).write(layout or "text"))


def _check_keep(keep: Path, *inputs: Path) -> None:
    """Refuses a file that cannot be written, or could not be read again."""
    from edge.output import check_output

    check_output(keep, *inputs)
    if keep.exists() and not keep.is_file():
        raise MisuseError(
            f"{keep} is not a regular file, so a survey cannot resume from it; give another file to --keep"
        )


def _part(text: str | None) -> "Part":
    """`2/3` is the second of three parts."""
    from edge.lab.survey import Part

    if text is None:
        return Part(1, 1)
    number, _, of = text.partition("/")
    if not (is_number(number) and is_number(of) and 1 <= int(number) <= int(of)):
        raise MisuseError(f"--part is '{text}'; give a part such as 2/3, the second of three")
    return Part(int(number), int(of))


def _resumed(wanted: "Survey", kept: "Survey", file: Path) -> "Survey":
    """The saved survey, if it is of the same model, text and part."""
    if what := wanted.differs_in(kept):
        raise MisuseError(f"{file} has a survey of another {what}; give another file to --keep")
    divisions = [[(part.number, part.of) for part in one.parts] for one in (wanted, kept)]
    if divisions[0] != divisions[1]:
        raise MisuseError(f"{file} has a survey of another part of the text; give another file to --keep")
    return kept


def read_survey(file: Path) -> "Survey":
    """The survey that `--keep` wrote.

    Raises:
        EdgeError: the file does not exist, or is not a survey.
    """
    from edge.lab.survey import from_json

    try:
        return from_json(parse_json(file.read_text(encoding="utf8")))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise EdgeError(f"{file} is not a survey that this version of Edge reads: {error}") from error
    except OSError as error:
        raise EdgeError(f"{file} cannot be read: {error.strerror}") from error


def _write(found: "Survey", keep: Path | None) -> None:
    from edge.lab.survey import to_json
    from edge.output import write_text

    if keep is not None:
        write_text(keep, json_text(to_json(found)))


def survey_table(found: "Survey") -> Table:
    """One row per layer: means over tokens, and over heads for attention."""
    import numpy as np

    from edge.measure.activation_counts import dead_share, hot_neuron_share
    from edge.measure.registry import MEASURES

    columns = (
        Column("layer", "layer"),
        Column("tokens", "tokens", ","),
        *(Column(measure.key, measure.title, measure.unit.show) for measure in MEASURES),
        Column("hot_neuron_share", "neurons for 80%", ".1%"),
        Column("dead_share", "dead", ".1%"),
        Column("entropy_bits", "entropy, bits", ".2f"),
        Column("first_token_share", "first-token share", ".1%"),
        Column("best_previous_token", "best on previous", ".1%"),
        Column("distance_tokens", "mean distance, tokens", ".1f"),
    )
    by_layer = [
        *(found.mean(measure.key) for measure in MEASURES),
        [float(hot_neuron_share(active)) for active in found.counts.active],
        [
            float(dead_share(active, np.asarray(found.counts.tokens[layer])))
            for layer, active in enumerate(found.counts.active)
        ],
        found.mean("entropy_bits").mean(axis=1),
        found.mean("first_token_share").mean(axis=1),
        found.mean("previous_token").max(axis=1),
        found.mean("distance_tokens").mean(axis=1),
    ]
    rows = zip(*([float(value) for value in values] for values in by_layer), strict=True)
    return Table(columns, [(layer, found.tokens, *row) for layer, row in enumerate(rows)])
