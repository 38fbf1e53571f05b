"""Writes one self-contained page: fills the template, and sets a policy that allows no network access."""

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files

from edge.report.markup import Markup, Section, join, script_json, tag, text
from edge.report.scales import PALETTE, palette_record
from edge.report.tokens_section import header, tokens_section
from edge.report.trace_sections import attention_section, layers_section, sparsity_section
from edge.report.trace_values import attention_maps, ffn_sparsity
from edge.trace import Trace
from models.progress import Progress

FORMAT = 1
"""Format number of the record that the page's script reads."""


def report_page(trace: Trace, further: Sequence[Section] = (), progress: Progress = lambda _: None) -> str:
    """The page of a trace, as HTML.

    Args:
        further: Sections after those of the trace.
        progress: Called with the name of what is being computed.
    """
    maps, sparsity = attention_maps(trace, progress), ffn_sparsity(trace)
    sections = [
        tokens_section(trace, maps, sparsity),
        attention_section(trace, maps),
        sparsity_section(trace, sparsity),
        layers_section(trace, maps, sparsity),
        *further,
    ]
    record = {"format": FORMAT, "palette": palette_record(PALETTE), "fed": trace.n_fed}
    for section in sections:
        record |= section.record
    return _filled(
        title=text(f"{trace.model} on {trace.engine} – edge report"),
        header=header(trace, sections),
        main=join(section.markup for section in sections),
        footer=_footer(trace),
        record=script_json(record),
    )


def _footer(trace: Trace) -> Markup:
    source = f"Written by edge report from a trace of edge {trace.versions.get('edge', 'of unknown version')}."
    offline = "This page is one file and needs no network. The trace has the exact floats."
    without = tag("noscript", tag("p", "The maps need JavaScript, which is disabled in this browser."))
    problem = tag("p", id="problem", role="alert")
    return tag("footer", tag("p", f"{source} {offline}"), without, problem)


def _filled(**parts: Markup) -> str:
    """The template with each `{{name}}` replaced once. Inserted text is not searched for further names."""
    style, script = _asset("page.css"), _asset("page.js")
    parts |= {"style": Markup(style), "script": Markup(script), "policy": text(_policy(style, script))}
    pieces = re.split(r"\{\{(\w+)\}\}", _asset("page.html"))
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy that loads nothing, and allows only the page's style sheet and script."""
    return f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'"


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode("utf8")).digest()).decode("ascii")


def _asset(name: str) -> str:
    return files("edge.report").joinpath(name).read_text(encoding="utf8").strip()
