"""Draws the log of a training run: loss, and induction scores."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Records = list[dict[str, Any]]

_POINTS = 400
"""Most points of the loss line; more would overlap."""

_LOSS, _VALID = "#7d8896", "#b3261e"


def draw_curve(log: Records, file: Path) -> None:
    """Writes an SVG: training and validation loss, and below them the induction scores of every layer, if logged.

    The same log gives the same bytes with the same matplotlib.
    """
    valid = [record for record in log if record["kind"] == "valid"]
    scored = [record for record in valid if "induction" in record]
    figure = Figure(figsize=(8, 6 if scored else 3.2), facecolor="white", layout="constrained")
    panels = figure.subplots(2 if scored else 1, sharex=True, squeeze=False)[:, 0]
    _draw_losses(panels[0], [record for record in log if record["kind"] == "loss"], valid)
    if scored:
        _draw_induction(panels[1], scored)
        figure.legend(loc="outside lower center", fontsize="small", ncols=4, frameon=False)
    for panel in panels:
        panel.grid(color="#e4e7eb", linewidth=0.6)
        panel.set_axisbelow(True)
    panels[-1].set_xlim(left=0)
    panels[-1].set_xlabel("training tokens, millions")
    # A fixed salt gives the same ids in every drawing; paths show the same letters without any font.
    with matplotlib.rc_context({"svg.hashsalt": "edge", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def _draw_losses(panel: Axes, losses: Records, valid: Records) -> None:
    """Two lines with different units; each axis has the color of its line."""
    (thin,) = panel.plot(*_block_means(_column(losses, "tokens") / 1e6, _column(losses, "loss")), color=_LOSS, lw=0.7)
    panel.set_ylabel("training loss, nats per token", color=thin.get_color())
    other = panel.twinx()
    other.plot(_column(valid, "tokens") / 1e6, _column(valid, "bits_per_byte"), color=_VALID, lw=1.6, marker=".")
    other.set_ylabel("validation loss, bits per byte", color=_VALID)


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
    """Means of blocks of neighboring points, so that at most `_POINTS` remain."""
    firsts = np.arange(0, len(values), max(1, -(-len(values) // _POINTS)))
    counts = np.diff(np.append(firsts, len(values)))
    return np.add.reduceat(places, firsts) / counts, np.add.reduceat(values, firsts) / counts
