"""The sparsity pane of the FFN view: every layer and token, in this run, the comparison run, or the difference."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from textual.widget import Widget

from edge.measure.registry import SHARE, Measure
from edge.mixture_neurons import ablated_neurons
from edge.picture.levels import Linear
from edge.picture.palettes import SIGNED
from models.sites import NEURONS, layer_site
from tui.view_state import MeasuredRun, ViewState
from tui.widgets.legend import Legend
from tui.widgets.pane import Pane
from tui.widgets.sparsity_map import SparsityMap

Values = Float32[np.ndarray, "layer token"]

SIDES = ("main", "compared", "difference")
"""Which run the map shows."""

UNITS = {
    "share": "share of neurons",
    "index": "index, no unit",
    "points": "percentage points",
    "index_difference": "index, no unit",
}


def form_of(sparsity: Measure, is_difference: bool = False) -> str:
    """How a definition's numbers are written, a key of `tui.widgets.sparsity_map.FORMS`."""
    if sparsity.unit is SHARE:
        return "points" if is_difference else "share"
    return "index_difference" if is_difference else "index"


def sparsity_of(shown: MeasuredRun, sparsity: Measure) -> Values:
    """One definition of a run, for every layer and token."""
    return shown.overview.sparsity[sparsity.key]


def can_pair(state: ViewState) -> bool:
    """Whether the comparison run has as many layers."""
    return (
        state.main is not None
        and state.compared is not None
        and state.compared.trace.spec.n_layers == state.main.trace.spec.n_layers
    )


@dataclass
class SparsityPane:
    """Draws the map, its title and its legend.

    Attributes:
        side: One of `SIDES`; `main` without a comparison run. The first edit changes it to `compared`.
    """

    side: str = SIDES[0]
    _drawn: tuple[object, ...] = ()
    _had_edits: bool = False

    def redraw(self) -> None:
        """Draws everything at the next opportunity."""
        self._drawn = ()

    def draw(self, view: Widget, state: ViewState) -> None:
        """Draws the chosen side of `state`, whose `main` is there."""
        main, compared, sparsity = state.main, state.compared if can_pair(state) else None, state.options.sparsity
        assert main is not None
        if bool(state.edits) != self._had_edits:
            self._had_edits = bool(state.edits)
            self.side = SIDES[1] if self._had_edits else SIDES[0]
        side = self.side if compared is not None else SIDES[0]
        shown = compared if compared is not None and side == "compared" else main
        grid, legend = view.query_one("#ffn", SparsityMap), view.query_one("#ffn-legend", Legend)
        grid.chosen = (state.selection.layer, state.selection.token)
        grid.palette = legend.palette = SIGNED if side == "difference" else state.options.palette
        grid.notice = _why_not(shown, compared if side == "difference" else None)
        own, other = sparsity_of(main, sparsity), None if compared is None else sparsity_of(compared, sparsity)
        off = (main if side == SIDES[0] or compared is None else compared).trace.ablated
        grid.ablated, grid.edited = off.ffns, state.ablated.ffn_layers
        drawn = (side, sparsity, own, other)
        if grid.notice:
            legend.scale, self._drawn = None, ()
        elif len(self._drawn) != len(drawn) or any(a is not b for a, b in zip(drawn, self._drawn, strict=True)):
            self._drawn, grid.labels = drawn, shown.trace.pieces
            _paint(grid, legend, side, sparsity, own, other)
        excluded = sum(len(ablated_neurons(kind.ffn, off, layer)) for layer, kind in enumerate(shown.trace.spec.layers))
        if excluded and not grid.notice:
            legend.note = f"{excluded:,} ablated neuron{'s' if excluded > 1 else ''} excluded"
        names = {
            "main": state.base_title,
            "compared": shown.name,
            "difference": f"{compared.name} minus {state.base_title}" if compared else "",
        }
        view.query_one("#ffn-pane", Pane).set_title(f"{sparsity.title}, {names[side]}" if compared else sparsity.title)


def _paint(
    grid: SparsityMap,
    legend: Legend,
    side: str,
    sparsity: Measure,
    own: Values,
    other: Float32[np.ndarray, "layer _"] | None,
) -> None:
    """Colors the map; both runs share a scale."""
    values = own if other is None or side == "main" else other
    if other is not None and side == "difference":
        values = (other - own) * (100 if form_of(sparsity) == "share" else 1)
        scale = _scale_about_zero(values)
    else:
        scale = _scale_of([own] if other is None else [own, other])
    grid.form = form_of(sparsity, side == "difference")
    grid.scale, grid.shares = scale, values
    legend.title, legend.scale = f"{sparsity.title}, {UNITS[grid.form]}", scale
    unknown = np.isnan(values).any(axis=1)
    legend.note = "· not known" if unknown.any() and set(np.flatnonzero(unknown).tolist()) - grid.ablated else ""


def _scale_of(runs: list[Float32[np.ndarray, "layer _"]]) -> Linear:
    """From the smallest value rounded down to a tenth, to the largest rounded up: the values are close."""
    known = np.concatenate([values[np.isfinite(values)] for values in runs])
    if not known.size:
        return Linear(0.0, 1.0)
    low = min(float(np.floor(known.min() * 10) / 10), 0.9)
    return Linear(low, max(float(np.ceil(known.max() * 10) / 10), low + 0.1))


def _scale_about_zero(values: Values) -> Linear:
    known = np.abs(values[np.isfinite(values)])
    largest = max(float(known.max(initial=0.0)), 1e-3)
    return Linear(-largest, largest)


def _why_not(shown: MeasuredRun, other: MeasuredRun | None) -> str:
    """Why there is no map; empty where there is one."""
    if not shown.trace.n_fed:
        return "no token was fed in this run"
    if not any(layer_site(layer, NEURONS) in shown.trace.sites for layer in range(shown.trace.spec.n_layers)):
        return f"the FFN's neurons were not recorded in {shown.name}\n\nrun the prompt again to record them"
    if other is not None and other.trace.n_fed != shown.trace.n_fed:
        return "a difference needs two runs of the same length\n\nv shows one run at a time"
    return ""
