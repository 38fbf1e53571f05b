"""Help for every pane: what it is, when to use it, how to read it, keys; one file per pane in `panes`. Shown by `?`."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edge.measure.registry import MEASURES

KEYS = "keys"
"""The section that belongs to no pane."""


@dataclass(frozen=True)
class Help:
    """One section of the help."""

    title: str
    text: str


@cache
def sections() -> dict[str, Help]:
    """Every section by its pane. A file's first line is its title, each further one a paragraph."""
    found: dict[str, Help] = {}
    for file in sorted((Path(__file__).parent / "panes").glob("*.txt")):
        title, _, text = file.read_text(encoding="utf8").partition("\n\n")
        found[file.stem] = Help(title, text.rstrip("\n").replace("{measures}", _measures()))
    return found


def _measures() -> str:
    """One line per sparsity measure, formula and source."""
    wide = max(len(measure.title) for measure in MEASURES)
    return "\n".join(f"  {one.title:<{wide}}   {one.formula}   ({one.source})" for one in MEASURES)
