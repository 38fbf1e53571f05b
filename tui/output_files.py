"""Files of the current screen: pictures, tables, traces, and self-contained pages that work offline."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from html import escape
from math import isfinite
from pathlib import Path

from edge.output import check_output, write_text
from edge.picture.pieces import show_piece
from edge.tables import Cell, Table
from edge.trace import Trace
from models.errors import EdgeError
from tui.view_state import ViewState

FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


@dataclass(frozen=True)
class FileKind:
    """A kind of file.

    Attributes:
        about: Its content.
        suffix: The end of its name, different for every kind.
    """

    key: str
    title: str
    about: str
    suffix: str


SVG = FileKind("svg", "picture", "this screen, SVG", ".svg")
HTML = FileKind("html", "page", "the picture with title and date, HTML, to print", ".html")
CSV = FileKind("csv", "table, CSV", "the numbers of this screen", ".csv")
JSON = FileKind("json", "table, JSON", "the numbers of this screen", ".json")
TRACE = FileKind("trace", "trace", "the run with all recorded sites; 'o' opens it again", ".trace")
EDITED = FileKind("edited", "trace with edits", "the run with the active edits; 'o' opens it again", "-edited.trace")
REPORT = FileKind("report", "report", "the run as an interactive page, HTML", "-report.html")

KINDS = (SVG, HTML, CSV, JSON, TRACE, EDITED, REPORT)

TRACES = (TRACE, EDITED)
"""Kinds that can be opened again."""


def offline(svg: str) -> str:
    """The picture without the web fonts of Rich."""
    svg = re.sub(r"@font-face\s*{.*?}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"font-family: [^;]*;", f"font-family: {FONTS};", svg)


def described(svg: str, words: str) -> str:
    """The picture with a description; unchanged if that is empty."""
    start = svg.index(">", svg.index("<svg")) + 1
    return f"{svg[:start]}<desc>{escape(words)}</desc>{svg[start:]}" if words else svg


def edit_words(state: ViewState) -> str:
    """All edits of the shown runs; empty without edits."""
    if state.edits:
        return f"edits: {', '.join(map(str, state.edits))}; applied: {state.edits_title}"
    return f"a run with edits: {', '.join(state.run_edits)}" if state.run_edits else ""


def page(svg: str, title: str, lines: list[str]) -> str:
    """A page with title, lines of facts and a picture; it fetches nothing and runs no script."""
    facts = "".join(f"<p>{escape(line)}</p>\n" for line in lines if line)
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>
@page {{ size: landscape; margin: 10mm; }}
body {{ margin: 2rem auto; padding: 0 1rem; max-width: 80rem; }}
body {{ font-family: system-ui, sans-serif; color: #1d2230; background: #fff; }}
h1 {{ font-size: 1.2rem; }}
p {{ margin: 0.2rem 0; color: #555; overflow-wrap: anywhere; }}
svg {{ width: 100%; height: auto; print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
</style>
</head>
<body>
<h1>{escape(title)}</h1>
{facts}{svg[svg.index("<svg") :]}
</body>
</html>
"""


def summary_of(state: ViewState, now: datetime) -> list[str]:
    """Facts of a page about the current run."""
    model, main = state.model, state.main
    if model is None or main is None:
        return [now.strftime("%Y-%m-%d %H:%M %Z").strip()]
    trace = main.trace
    prompt = show_piece("".join(trace.pieces[: trace.prompt_length]))
    versions = ", ".join(f"{name} {version}" for name, version in trace.versions.items())
    return [
        f"{model.name} on {trace.engine} · {len(trace.tokens)} tokens · {now.strftime('%Y-%m-%d %H:%M %Z').strip()}",
        f"prompt: {prompt}",
        edit_words(state),
        f"compared with: {state.compared.name}" if state.compared and not state.edits else "",
        versions,
    ]


def plain(table: Table) -> Table:
    """The table for CSV and JSON: NaN and infinity are absent."""

    def known(cell: Cell) -> Cell:
        return None if isinstance(cell, float) and not isfinite(cell) else cell

    return Table(table.columns, [[known(cell) for cell in row] for row in table.rows])


def report(trace: Trace) -> str:
    """The page of `edge report`."""
    from edge.report.page import report_page

    return report_page(trace)


def free_path(folder: Path, stem: str, suffix: str) -> Path:
    """A path that does not exist yet: `stem.svg`, `stem-2.svg` and so on; a slash in a hub id is replaced."""
    stem = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "edge"
    number, path = 1, folder / f"{stem}{suffix}"
    while os.path.lexists(path):
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


def place_for(text: str) -> Path:
    """The path that the user wrote, `~` expanded.

    Raises:
        EdgeError: the file cannot be written there.
    """
    if not text:
        raise EdgeError("name a file to write")
    path = Path(text).expanduser()
    check_output(path)
    return path


def writer_of(kind: FileKind, state: ViewState, table: Table | None, svg: str, title: str) -> Callable[[Path], object]:
    """A function that writes a file of this kind, completely or not at all; slow, so call it off the UI's thread.

    Raises:
        EdgeError: there is nothing of this kind to write.
    """
    trace = state.main.trace if state.main else None
    if kind == EDITED:
        if state.compared is None or not state.edits:
            raise EdgeError("no edit is active, so there is no run with edits to write")
        return state.compared.trace.save
    if kind in (TRACE, REPORT):
        if trace is None:
            raise EdgeError("there is no run yet to write")
        run = trace
        return run.save if kind == TRACE else lambda path: write_text(path, report(run))
    if kind in (CSV, JSON):
        if table is None:
            raise EdgeError("this screen has no numbers yet")
        rows = plain(table)
        return lambda path: write_text(path, (rows.csv() if kind == CSV else rows.json()) + "\n")
    if kind == HTML:
        lines = summary_of(state, datetime.now().astimezone())
        return lambda path: write_text(path, page(svg, title, lines))
    return lambda path: write_text(path, svg)
