"""`edge report`: writes a saved trace as one HTML page, or a profile as a timeline."""

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
@click.option("-o", "--output", type=_FILE, required=True, help="Output file.")
@click.option("--profile", type=_FILE, help="Also show this profile, written by 'edge profile --json'.")
@click.option("--compare", type=_FILE, help="Also show this comparison, written by 'edge compare --json'.")
@click.option("--lab", type=_FILE, help="Also show these claims, written by 'edge lab --json'.")
@click.option("--perfetto", is_flag=True, help="Write a timeline for ui.perfetto.dev; TRACE is then a profile.")
def report(
    source: Path, output: Path, profile: Path | None, compare: Path | None, lab: Path | None, perfetto: bool
) -> None:
    """Write a trace as one HTML page that works offline.

    Use it to share a run: the page needs no network, and any browser opens it. It shows the tokens, the attention
    weights of every head, and the activation sparsity of every FFN. With the options it also shows latency per
    sublayer, differences between engines, and results of claims about attention and the FFN.
    """
    from edge.output import check_output, file_bytes, write_text

    check_output(output, source, profile, compare, lab)
    if perfetto and (profile or compare or lab):
        raise MisuseError(
            "--perfetto cannot be combined with --profile, --compare or --lab; give only the profile as TRACE"
        )
    write_text(output, _timeline(source) if perfetto else _page(source, profile, compare, lab))
    opens = "open it at ui.perfetto.dev" if perfetto else "open it in a browser"
    size = file_bytes(output)
    if size is not None:
        print_message(f"{output}: {show_bytes(size)}; {opens}")


def _page(source: Path, profile: Path | None, compare: Path | None, lab: Path | None) -> str:
    from edge.report.page import report_page
    from edge.trace import open_trace

    trace = open_trace(source)
    further = _further(trace.model, profile, compare, lab)
    if not (trace.sites or trace.generated or further):
        raise MisuseError(
            f"{source} has no sites and no generated tokens, so there is nothing to show; run 'edge trace' again"
        )
    return report_page(trace, further, print_message)


def _further(model: str, profile: Path | None, compare: Path | None, lab: Path | None) -> "list[Section]":
    """Sections of the other files, after those of the trace of `model`."""
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
