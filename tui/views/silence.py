"""First pane of the FFN view: how silent each layer is at each token, in this run, the other, or their difference."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from textual.widget import Widget

from edge.picture.levels import Linear
from edge.picture.palettes import SIGNED
from models.sites import layer_site
from tui.pictures import share_scale
from tui.sight import Shown, Sight
from tui.state import Silence
from tui.widgets.legend import Legend
from tui.widgets.pane import Pane
from tui.widgets.sparsity_map import SparsityMap

SIDES = ("main", "beside", "difference")
"""Which run the map shows."""

UNITS = {
    "share": "share of neurons",
    "index": "index, no unit",
    "points": "percentage points",
    "apart": "index, no unit",
}


def form_of(silence: Silence, is_difference: bool = False) -> str:
    """How a definition's numbers are written, a key of `tui.widgets.sparsity_map.FORMS`."""
    if silence.field in ("exact_zero", "top_p"):
        return "points" if is_difference else "share"
    return "apart" if is_difference else "index"


def silence_of(shown: Shown, silence: Silence) -> Float32[np.ndarray, "layer token"]:
    """One definition of a run, for every layer and token."""
    values: Float32[np.ndarray, "layer token"] = getattr(shown.overview, silence.field)
    return values


def can_pair(sight: Sight) -> bool:
    """The run beside has a map of the same shape but for its tokens."""
    return (
        sight.main is not None
        and sight.beside is not None
        and sight.beside.trace.spec.n_layers == sight.main.trace.spec.n_layers
    )


@dataclass
class SilenceMap:
    """Draws the map, and what stands around it.

    Attributes:
        side: What shows, one of `SIDES`; this run where nothing runs beside it.
    """

    side: str = SIDES[0]
    _drawn: tuple[object, ...] = ()

    def redraw(self) -> None:
        """Draws everything at the next opportunity."""
        self._drawn = ()

    def draw(self, view: Widget, sight: Sight) -> None:
        """Draws the chosen side of `sight`, whose `main` is there."""
        assert sight.main is not None
        silence, side = sight.options.silence, self.side if can_pair(sight) else SIDES[0]
        shown = sight.beside if side == "beside" and sight.beside is not None else sight.main
        other = sight.beside if side == "difference" else None
        grid, legend = view.query_one("#ffn", SparsityMap), view.query_one("#ffn-legend", Legend)
        grid.chosen = (sight.selection.layer, sight.selection.token)
        grid.notice = _why_not(sight, shown, other)
        values = (silence_of(shown, silence), silence_of(other, silence) if other else None)
        signed = other is not None
        grid.palette = legend.palette = SIGNED if signed else sight.options.palette
        drawn = (side, silence, shown.name, *(id(value) for value in values))
        if grid.notice:
            legend.scale, self._drawn = None, ()
        elif drawn != self._drawn:
            self._drawn, self._kept = drawn, values
            self._paint(grid, legend, silence, signed)
            grid.labels = shown.trace.pieces
        names = {"main": "this run", "beside": shown.name}
        name = names.get(side) or f"{other.name if other else ''} less this run"
        view.query_one("#ffn-pane", Pane).entitle(f"{silence.title}, {name}" if can_pair(sight) else silence.title)

    def _paint(self, grid: SparsityMap, legend: Legend, silence: Silence, signed: bool) -> None:
        values, other = self._kept
        if other is not None:
            values = (other - values) * (100 if form_of(silence) == "share" else 1)
            known = np.abs(values[np.isfinite(values)])
            largest = max(float(known.max(initial=0.0)), 1e-6)
            scale = Linear(-largest, largest)
        else:
            scale = share_scale(values)
        grid.form = form_of(silence, signed)
        grid.scale, grid.shares = scale, values
        legend.title, legend.scale = f"{silence.title}, {UNITS[grid.form]}", scale
        legend.note = "· not known" if np.isnan(values).any() else ""


def _why_not(sight: Sight, shown: Shown, other: Shown | None) -> str:
    """Why there is no map, in words; empty where there is one."""
    if not shown.trace.n_fed:
        return "no token was fed in this run"
    if not any(layer_site(layer, "ffn.neurons") in shown.trace.sites for layer in range(shown.trace.spec.n_layers)):
        return f"the FFN's neurons were not watched in {shown.name}\n\nrun the prompt again to watch them"
    if other is not None and other.trace.n_fed != shown.trace.n_fed:
        return "a difference needs as many tokens in both runs\n\nv shows one run after the other"
    return ""
