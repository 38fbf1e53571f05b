"""`edge report`: a saved run as one HTML page, or a profile as a timeline."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.commands.options import print_message
from edge.picture.units import show_bytes
from models.errors import MisuseError
from models.json_text import json_text

if TYPE_CHECKING:
    from edge.report.markup import Section

_FILE = click.Path(path_type=Path)


@click.command(
    epilog="""\b
    Examples:
      edge trace fable-relu "Once upon a time" -o once.trace
      edge report once.trace -o once.html
      edge report once.trace -o once.html --profile profile.json --compare compare.json
      edge report once.trace -o once.html --lab lab.json
      edge report profile.json --perfetto -o timeline.json
    """
)
@click.argument("source", metavar="TRACE", type=_FILE)
@click.option("-o", "--output", type=_FILE, required=True, help="The file to write.")
@click.option("--profile", type=_FILE, help="Show this profile, too: what 'edge profile --json' wrote.")
@click.option("--compare", type=_FILE, help="Show this comparison, too: what 'edge compare --json' wrote.")
@click.option("--lab", type=_FILE, help="Show this lab, too: what 'edge lab --json' wrote.")
@click.option("--perfetto", is_flag=True, help="TRACE is a profile: write a timeline for ui.perfetto.dev.")
def report(
    source: Path, output: Path, profile: Path | None, compare: Path | None, lab: Path | None, perfetto: bool
) -> None:
    """Write what TRACE saw as one HTML page that opens anywhere.

    The page needs no network and sends nothing. It shows the tokens, every attention map, how silent FFNs were, and,
    where such files are given, where time goes, how far other engines are from each other, and what claims about
    attention and the FFN were found to be worth.
    """
    from edge.output import check_output, file_bytes, write_text

    check_output(output, source, profile, compare, lab)
    if perfetto and (profile or compare or lab):
        raise MisuseError(
            "--perfetto writes the timeline of one profile, named first; a page takes --profile, --compare, --lab"
        )
    write_text(output, _timeline(source) if perfetto else _page(source, profile, compare, lab))
    opens = "ui.perfetto.dev opens it" if perfetto else "any browser opens it"
    size = file_bytes(output)
    if size is not None:
        print_message(f"{output}: {show_bytes(size)}; {opens}")


def _page(source: Path, profile: Path | None, compare: Path | None, lab: Path | None) -> str:
    from edge.report.page import report_page
    from edge.trace import open_trace

    trace = open_trace(source)
    further = _further(trace.model, profile, compare, lab)
    if not (trace.sites or trace.generated or further):
        raise MisuseError(f"{source} is of a run that watched nothing and generated nothing; there is nothing to show")
    return report_page(trace, further, print_message)


def _further(model: str, profile: Path | None, compare: Path | None, lab: Path | None) -> "list[Section]":
    """What is shown beside the trace of `model`."""
    from edge.lab.record import open_lab
    from edge.report.claims_section import claims_section
    from edge.report.comparison_section import comparison_section
    from edge.report.read import naming_file, read_comparison, read_profile
    from edge.report.time_section import time_section

    sections = []
    if profile is not None:
        measured = read_profile(profile)
        with naming_file(profile):
            sections.append(time_section(measured, model))
    if compare is not None:
        compared = read_comparison(compare)
        with naming_file(compare):
            sections.append(comparison_section(compared, model))
    if lab is not None:
        tried = open_lab(lab)
        with naming_file(lab):
            sections.append(claims_section(tried, model))
    return sections


def _timeline(source: Path) -> str:
    from edge.report.perfetto import timeline
    from edge.report.read import naming_file, read_profile

    measured = read_profile(source)
    with naming_file(source):
        return json_text(timeline(measured), in_ascii=True)
