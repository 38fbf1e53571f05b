"""Stacked bars of time: one color per part of a layer, tints of one hue for attention and of another for the FFN."""

from edge.picture.units import show_time
from edge.report.markup import Markup, tag
from edge.timing import TimesByScope
from models.parts import known_parts, within_layer

PARTS = known_parts()
"""The parts of all kinds of layers."""

UNATTRIBUTED = "unattributed"
"""The name of the unattributed time in legends and tables; it is shown like a part."""

_WIDTH = 1000
"""Width of a full bar, in units of the `viewBox`."""


def legend_of_parts() -> Markup:
    """The color of each part, with the part's name."""
    named = [
        *((part, color_class(part)) for part in PARTS),
        ("embed, lm_head, other", "outside"),
        (UNATTRIBUTED, color_class(UNATTRIBUTED)),
    ]
    return tag("ul", *(tag("li", _swatch(kind), f" {name}") for name, kind in named), class_="parts")


def color_class(part: str) -> str:
    """The class in the style sheet: `attn-qkv` for `attn.qkv`, `outside` for a part that is in no layer."""
    if part in PARTS:
        return part.replace(".", "-")
    return UNATTRIBUTED if part == UNATTRIBUTED else "outside"


def stacked(parts: TimesByScope, longest_ns: float) -> Markup:
    """One bar; it is full if its parts sum to `longest_ns`."""
    pieces, start = [], 0.0
    for part, took in parts.items():
        name = within_layer(part)
        width = _WIDTH * took / longest_ns if longest_ns else 0.0
        tooltip = tag("title", f"{name} {show_time(took)}")
        pieces.append(tag("rect", tooltip, x=f"{start:.1f}", width=f"{width:.1f}", height=1, class_=color_class(name)))
        start += width
    return tag("svg", *pieces, viewBox=f"0 0 {_WIDTH} 1", preserveAspectRatio="none", class_="bar", aria_hidden="true")


def _swatch(kind: str) -> Markup:
    square = tag("rect", width=10, height=10, class_=kind)
    return tag("svg", square, viewBox="0 0 10 10", class_="swatch", aria_hidden="true")
