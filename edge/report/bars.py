"""Stacked bars of time: a color for each part of a layer, tints of one hue for attention, of another for the FFN."""

from edge.picture.units import show_time
from edge.report.markup import Markup, tag
from edge.timing import TimesByScope
from models.parts import SUBLAYERS, within_layer

PARTS = tuple(f"{sublayer}.{part}" for sublayer, parts in SUBLAYERS.items() for part in parts)
"""Of one layer, in the order in which they are computed."""

GAP = "gap"
"""What no part accounts for, as a part."""

_WIDTH = 1000
"""Of a full bar, in the picture's own unit."""


def legend_of_parts() -> Markup:
    """Each color and what it stands for."""
    named = [*((part, color_class(part)) for part in PARTS), ("embed, head, other", "outside"), (GAP, GAP)]
    return tag("ul", *(tag("li", _swatch(kind), f" {name}") for name, kind in named), class_="parts")


def color_class(part: str) -> str:
    """Of the style sheet: `attn.qkv` is `attn-qkv`, what is in no layer `outside`."""
    if part in PARTS:
        return part.replace(".", "-")
    return GAP if part == GAP else "outside"


def stacked(parts: TimesByScope, longest_ns: float) -> Markup:
    """One bar; it is full where its parts together took `longest_ns`."""
    pieces, start = [], 0.0
    for part, took in parts.items():
        name = within_layer(part)
        width = _WIDTH * took / longest_ns if longest_ns else 0.0
        said = tag("title", f"{name} {show_time(took)}")
        pieces.append(tag("rect", said, x=f"{start:.1f}", width=f"{width:.1f}", height=1, class_=color_class(name)))
        start += width
    return tag("svg", *pieces, viewBox=f"0 0 {_WIDTH} 1", preserveAspectRatio="none", class_="bar", aria_hidden="true")


def _swatch(kind: str) -> Markup:
    square = tag("rect", width=10, height=10, class_=kind)
    return tag("svg", square, viewBox="0 0 10 10", class_="swatch", aria_hidden="true")
