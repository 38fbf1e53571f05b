"""HTML put together so that no text can become markup."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from typing import Any

from edge.picture.levels import LEVELS
from edge.picture.palettes import Palette
from edge.picture.pieces import show_piece
from models.json_text import json_text

Attribute = str | int | float | bool | None

_EMPTY = ("input",)
"""Elements without an inside and an end."""


class Markup(str):
    """Text that is HTML already."""


def text(plain: str) -> Markup:
    """Plain text as HTML: what could be markup is escaped, what could move or hide text shows as an escape."""
    return plain if isinstance(plain, Markup) else Markup(escape(show_piece(plain)))


def tag(element: str, /, *inside: str, **attributes: Attribute) -> Markup:
    """One element. Everything inside that is no `Markup` is plain text.

    `class_` is the attribute `class`, `aria_label` is `aria-label`; True is an attribute without a value, None and
    False none at all.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if element in _EMPTY:
        return Markup(f"<{element}{written}>")
    return Markup(f"<{element}{written}>{join(inside)}</{element}>")


def join(parts: Iterable[str]) -> Markup:
    """Several pieces as one, plain text escaped."""
    return Markup("".join(text(part) for part in parts))


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{text(str(value))}"'


@dataclass(frozen=True)
class Section:
    """A section of the page, named by its heading, and what the page's script needs to draw in it."""

    id: str
    title: str
    inside: tuple[str, ...]
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def markup(self) -> Markup:
        heading = tag("h2", self.title, id=f"{self.id}-title")
        return tag("section", heading, *self.inside, id=self.id, aria_labelledby=f"{self.id}-title")


def note(*inside: str) -> Markup:
    """What the numbers beside it mean, or what is missing."""
    return tag("p", *inside, class_="note")


def numbers(caption: str, headings: Iterable[str], rows: Iterable[Iterable[str]], kind: str = "plain") -> Markup:
    """A table whose first column names its rows; `kind` is its class in the style sheet."""
    head = tag("thead", tag("tr", *(tag("th", heading, scope="col") for heading in headings)))
    body = tag("tbody", *(_row(*row) for row in rows))
    return tag("div", tag("table", tag("caption", caption), head, body, class_=kind), class_="wide")


def _row(name: str, *cells: str) -> Markup:
    return tag("tr", tag("th", name, scope="row"), *(tag("td", cell) for cell in cells))


def gradient(palette: Palette) -> Markup:
    """The colors of a scale side by side, lowest first."""
    colors = (hexadecimal(color) for color in palette.colors)
    steps = (tag("rect", x=step, width=1.05, height=1, fill=color) for step, color in enumerate(colors))
    return tag(
        "svg", *steps, class_="gradient", viewBox=f"0 0 {LEVELS} 1", preserveAspectRatio="none", aria_hidden="true"
    )


def hexadecimal(color: tuple[int, int, int]) -> str:
    """`(0, 32, 77)` is `#00204d`."""
    return f"#{bytes(color).hex()}"


def script_json(record: Any) -> Markup:
    """JSON in ASCII for a script element: none of its text can end the element."""
    written = json_text(record, sort_keys=True, compact=True, in_ascii=True)
    return Markup(written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
