"""Curves of the lab as SVG, which needs no script."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from edge.lab.claim import Curve, Series
from edge.picture.ticks import ticks
from edge.picture.units import show_measured
from edge.report.markup import Markup, tag
from edge.report.scales import briefly

WIDTH, HEIGHT = 360, 170
"""Size of a plot with its axes, in pixels if the page is wide enough."""

LETTER = 6.2
"""Width of a digit in the text of plots, in pixels."""

TICK_LETTERS = 10
"""Longest label of the x axis; a longer one is cut."""

COLORS = 6
"""Number of line colors in the style sheet. Dashes and markers also distinguish lines, for print in gray."""

DASHES = (None, "7 3", "2 2", "9 3 2 3", "4 5")
MARKERS = (
    "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0",
    "m-2.6-2.6h5.2v5.2h-5.2z",
    "m0-3.6l3.4 6h-6.8z",
    "m-3-3l6 6m0-6l-6 6",
    "m0-3.8l3.4 3.8l-3.4 3.8l-3.4-3.8z",
    "m-3.4-2.4h6.8l-3.4 6z",
    "m-3.5 0h7m-3.5-3.5v7",
)
"""SVG paths around a point: disc, square, triangle, cross, diamond, inverted triangle, plus."""


def figure(title: str, *inside: Markup) -> Markup:
    """A figure with its title above it."""
    return tag("figure", tag("figcaption", title), *inside)


@dataclass(frozen=True)
class Frame:
    """The coordinates of the values and points of a curve."""

    left: float
    ticks: Sequence[float]
    points: int

    @property
    def slot(self) -> float:
        """The width of one point on the x axis, in pixels."""
        return (WIDTH - 4 - self.left) / self.points

    def x(self, point: int) -> float:
        return self.left + (point + 0.5) * self.slot

    def y(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return HEIGHT - 22 - (HEIGHT - 30) * (value - low) / (high - low)


def curve_figure(curve: Curve) -> Markup:
    """Lines that differ by dashes and markers, axes with numbers, and a legend.

    Raises:
        ValueError: the number of values of a series is not the number of points.
    """
    for series in curve.series:
        if len(series.values) != len(curve.x):
            raise ValueError(f"'{series.name}' has {len(series.values)} values for {len(curve.x)} points")
    if not curve.x or not curve.series:
        return figure(curve.title, tag("p", "no points", class_="caption"))
    finite = [value for series in curve.series for value in series.values if math.isfinite(value)]
    marks = ticks(min([0.0, *finite]), max([0.0, *finite]))
    frame = Frame(12 + LETTER * max(len(_tick(value)) for value in marks), marks, len(curve.x))
    lines = (_line(place, series, curve, frame) for place, series in enumerate(curve.series))
    picture = tag(
        "svg",
        *_y_axis(frame),
        *_x_axis(curve.x, frame),
        *lines,
        class_="plot",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=_description(curve),
    )
    keys = tag("ul", *(_key(place, series.name) for place, series in enumerate(curve.series)), class_="parts")
    over, under = tag("p", f"↑ {curve.y_title}", class_="axis"), tag("p", f"{curve.x_title} →", class_="axis")
    return figure(curve.title, over, picture, under, keys)


def _description(curve: Curve) -> str:
    """A curve in words, for screen readers."""
    lines = (f"{series.name} {_range(series.values)}" for series in curve.series)
    return f"{curve.title}: {curve.y_title} by {curve.x_title}; {'; '.join(lines)}"


def _range(values: Iterable[float]) -> str:
    finite = [value for value in values if math.isfinite(value)]
    return f"from {show_measured(min(finite), '')} to {show_measured(max(finite), '')}" if finite else "has no value"


def _tick(value: float) -> str:
    return briefly(value).replace("-", "−")


def _y_axis(frame: Frame) -> Iterator[Markup]:
    for value in frame.ticks:
        y = round(frame.y(value)) + 0.5
        yield tag("path", d=f"M{frame.left:.0f} {y}H{WIDTH}", class_="zero" if value == 0 else "tick")
        yield tag("text", _tick(value), x=f"{frame.left - 6:.0f}", y=y + 3.5, text_anchor="end")


def _x_axis(labels: Sequence[str], frame: Frame) -> Iterator[Markup]:
    """The labels of the x axis, as many as fit."""
    short = [label if len(label) <= TICK_LETTERS else f"{label[: TICK_LETTERS - 1]}…" for label in labels]
    every = math.ceil((LETTER * max(map(len, short)) + 6) / frame.slot)
    for point in range(0, len(labels), every):
        whole = [tag("title", labels[point])] if short[point] != labels[point] else []
        yield tag("text", short[point], *whole, x=f"{frame.x(point):.1f}", y=HEIGHT - 6, text_anchor="middle")


def _line(place: int, series: Series, curve: Curve, frame: Frame) -> Markup:
    """A line and its points, with a break at a missing number."""
    points = [(frame.x(point), frame.y(value)) for point, value in enumerate(series.values)]
    runs = (list(run) for finite, run in groupby(points, lambda point: math.isfinite(point[1])) if finite)
    drawn = "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in run) for run in runs if len(run) > 1)
    path = tag("path", d=drawn, stroke_dasharray=DASHES[place % len(DASHES)]) if drawn else Markup()
    marks = (
        tag(
            "path",
            tag("title", f"{series.name}, {curve.x_title} {label}: {show_measured(value, '')}"),
            d=f"M{x:.1f} {y:.1f}{MARKERS[place % len(MARKERS)]}",
        )
        for (x, y), value, label in zip(points, series.values, curve.x, strict=True)
        if math.isfinite(value)
    )
    return tag("g", path, tag("g", *marks, class_="marks"), class_=_line_class(place))


def _line_class(place: int) -> str:
    return f"line line-{place % COLORS}"


def _key(place: int, name: str) -> Markup:
    """The legend entry of a line: a sample of it, and its name."""
    path = tag("path", d="M1 6H33", stroke_dasharray=DASHES[place % len(DASHES)])
    mark = tag("g", tag("path", d=f"M17 6{MARKERS[place % len(MARKERS)]}"), class_="marks")
    return tag("li", tag("svg", path, mark, viewBox="0 0 34 12", class_=_line_class(place), aria_hidden="true"), name)
