"""Builds HTML in which no text can become markup."""

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
"""Elements without content and without an end tag."""


class Markup(str):
    """Text that is already HTML."""


def text(plain: str) -> Markup:
    """Plain text as HTML. Markup is escaped; characters that move or hide text are shown as escapes."""
    return plain if isinstance(plain, Markup) else Markup(escape(show_piece(plain)))


def tag(element: str, /, *inside: str, **attributes: Attribute) -> Markup:
    """One element. Content that is not `Markup` is escaped as plain text.

    `class_` is the attribute `class`, `aria_label` is `aria-label`. True gives an attribute without a value; None and
    False give no attribute.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if element in _EMPTY:
        return Markup(f"<{element}{written}>")
    return Markup(f"<{element}{written}>{join(inside)}</{element}>")


def join(parts: Iterable[str]) -> Markup:
    """All parts as one, with plain text escaped."""
    return Markup("".join(text(part) for part in parts))


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{text(str(value))}"'


@dataclass(frozen=True)
class Section:
    """A section of the page: heading, content, and the data that the page's script draws in it."""

    id: str
    title: str
    inside: tuple[str, ...]
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def markup(self) -> Markup:
        heading = tag("h2", self.title, id=f"{self.id}-title")
        return tag("section", heading, *self.inside, id=self.id, aria_labelledby=f"{self.id}-title")


def note(*inside: str) -> Markup:
    """A paragraph that explains the numbers of a section, or why there are none."""
    return tag("p", *inside, class_="note")


def numbers(caption: str, headings: Iterable[str], rows: Iterable[Iterable[str]], kind: str = "plain") -> Markup:
    """A table whose first column has the names of its rows; `kind` is its class in the style sheet."""
    head = tag("thead", tag("tr", *(tag("th", heading, scope="col") for heading in headings)))
    body = tag("tbody", *(_row(*row) for row in rows))
    return tag("div", tag("table", tag("caption", caption), head, body, class_=kind), class_="wide")


def _row(name: str, *cells: str) -> Markup:
    return tag("tr", tag("th", name, scope="row"), *(tag("td", cell) for cell in cells))


def source_title(source: str) -> str:
    """The text of a comparison or a lab in a sentence, from its `source`: a file name, `built in`, or `ids`."""
    return {"built in": "the bundled text", "ids": "the given token ids"}.get(source, f"the text '{source}'")


def gradient(palette: Palette) -> Markup:
    """The colors of a scale from the lowest to the highest."""
    colors = (hexadecimal(color) for color in palette.colors)
    steps = (tag("rect", x=step, width=1.05, height=1, fill=color) for step, color in enumerate(colors))
    return tag(
        "svg", *steps, class_="gradient", viewBox=f"0 0 {LEVELS} 1", preserveAspectRatio="none", aria_hidden="true"
    )


def hexadecimal(color: tuple[int, int, int]) -> str:
    """`(0, 32, 77)` is `#00204d`."""
    return f"#{bytes(color).hex()}"


def script_json(record: Any) -> Markup:
    """JSON in ASCII for a script element. No text in it can end the element."""
    written = json_text(record, sort_keys=True, compact=True, in_ascii=True)
    return Markup(written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
