"""Draws what a run logged: what text cost it, and when heads that look for repeats formed."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Records = list[dict[str, Any]]

_POINTS = 400
"""Most points of the loss line; more would be drawn over each other."""

_LOSS, _COST = "#7d8896", "#b3261e"


def draw_curve(log: Records, file: Path) -> None:
    """Writes an SVG: the cost of text, and below it, where the log has them, the induction scores of every layer.

    The same log gives the same bytes with the same matplotlib.
    """
    valid = [record for record in log if record["kind"] == "valid"]
    scored = [record for record in valid if "induction" in record]
    figure = Figure(figsize=(8, 6 if scored else 3.2), facecolor="white", layout="constrained")
    panels = figure.subplots(2 if scored else 1, sharex=True, squeeze=False)[:, 0]
    _draw_cost(panels[0], [record for record in log if record["kind"] == "loss"], valid)
    if scored:
        _draw_induction(panels[1], scored)
        figure.legend(loc="outside lower center", fontsize="small", ncols=4, frameon=False)
    for panel in panels:
        panel.grid(color="#e4e7eb", linewidth=0.6)
        panel.set_axisbelow(True)
    panels[-1].set_xlim(left=0)
    panels[-1].set_xlabel("tokens learned from, millions")
    # Ids that are the same in every drawing; letters that look the same without any font.
    with matplotlib.rc_context({"svg.hashsalt": "edge", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def _draw_cost(panel: Axes, losses: Records, valid: Records) -> None:
    """Two scales that share no unit: each has the colour of its line."""
    (thin,) = panel.plot(*_block_means(_column(losses, "tokens") / 1e6, _column(losses, "loss")), color=_LOSS, lw=0.7)
    panel.set_ylabel("training loss, nats a token", color=thin.get_color())
    other = panel.twinx()
    other.plot(_column(valid, "tokens") / 1e6, _column(valid, "bits_per_byte"), color=_COST, lw=1.6, marker=".")
    other.set_ylabel("validation, bits a byte", color=_COST)


def _draw_induction(panel: Axes, scored: Records) -> None:
    tokens = _column(scored, "tokens") / 1e6
    best = np.array([record["induction"] for record in scored])
    colors = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, best.shape[1]))
    for layer, color in enumerate(colors):
        panel.plot(tokens, best[:, layer], color=color, lw=1.4, label=f"best head of layer {layer}")
    panel.set_ylim(0, 1)
    panel.set_ylabel("induction score, 0 to 1")


def _column(records: Records, key: str) -> Float64[np.ndarray, " record"]:
    return np.array([record[key] for record in records], np.float64)


def _block_means(
    places: Float64[np.ndarray, " record"], values: Float64[np.ndarray, " record"]
) -> tuple[Float64[np.ndarray, " block"], Float64[np.ndarray, " block"]]:
    """Means of neighbors, so that no more than `_POINTS` are left."""
    firsts = np.arange(0, len(values), max(1, -(-len(values) // _POINTS)))
    counts = np.diff(np.append(firsts, len(values)))
    return np.add.reduceat(places, firsts) / counts, np.add.reduceat(values, firsts) / counts
