"""Activations at one token, for the FFN view: every definition of sparsity, and the sorted curve."""

import numpy as np
from textual.widget import Widget

from edge.insight.neurons import neurons_at, read_cett
from edge.measure.registry import MEASURES, SHARE
from edge.measure.sparsity import CettSparsity
from models.sites import NEURONS
from models.spec import MoE
from tui.result_cache import ResultCache, Unavailable
from tui.view_state import MeasuredRun, ViewState
from tui.views.sparsity import sparsity_of
from tui.widgets.ffn.activation_curve import ActivationCurve
from tui.widgets.ffn.sparsity_definitions import MeasuredDefinition, SparsityDefinitions
from tui.widgets.pane import Pane

CETT = ("share of neurons that can be dropped at 20% mean error", "droppable at 20% error", "20% error")


def inactive_text(main: MeasuredRun, layer: int, expert: int | None = None) -> str:
    """Why an FFN, or one of its experts, has no active neuron at a token."""
    if layer in main.trace.ablated.ffns:
        return f"the FFN of layer {layer} is ablated in this run: its output is 0"
    if expert is not None:
        return f"expert {expert} is not chosen at this token\n\nb lists the neurons of all experts"
    return "every neuron is 0 at this token"


class ActivationPanes:
    """Draws the panes `definitions` and `curve`."""

    def __init__(self, view: Widget) -> None:
        self._view = view
        self._cett: ResultCache[CettSparsity] = ResultCache("cett", view)
        self._drawn: tuple[object, int, int] | None = None
        self._noted = ""

    def clear(self) -> None:
        """Drops the results of the previous run."""
        self._cett.clear()

    def redraw(self) -> None:
        """Draws everything at the next opportunity."""
        self._drawn = None

    def draw(self, state: ViewState, main: MeasuredRun) -> None:
        """Draws the chosen token of the chosen layer."""
        self._define(state, main)
        self._plot(state, main)

    def _define(self, state: ViewState, main: MeasuredRun) -> None:
        layer, token = state.selection.layer, state.selection.token
        missing = main.lacks(layer, NEURONS)
        rows = []
        for measure in MEASURES:
            values = sparsity_of(main, measure)[layer]
            value, mean = (float(values[token]), float(values.mean())) if token < len(values) else (np.nan, np.nan)
            missing_text = missing or ("measuring …" if np.isnan(value) else "")
            missing_text = "ablated" if layer in main.trace.ablated.ffns else missing_text
            rows.append(
                MeasuredDefinition(measure.title, measure.unit.show, value, mean, measure.meanings, missing_text)
            )
        grid = self._view.query_one("#definitions", SparsityDefinitions)
        grid.rows, grid.options = (*rows, self._define_cett(main, layer, token, missing)), state.options
        kind, out = main.trace.spec.layers[layer].ffn, len(main.trace.ablated_neurons(layer))
        count, note = f"{kind.d_ff:,} neurons", ""
        if isinstance(kind, MoE):
            count += f" in {kind.n_experts} experts"
            note = "neurons of experts not chosen count as inactive"
        words = f"layer {layer} at {main.quote(token)}, {count}{f', {out:,} ablated excluded' if out else ''}"
        self._view.query_one("#definitions-pane", Pane).set_title(words + state.without, note)

    def _define_cett(self, main: MeasuredRun, layer: int, token: int, missing: str) -> MeasuredDefinition:
        value, mean, trace, weights = float("nan"), float("nan"), main.trace, main.weights
        if not missing and weights is None:
            missing = "needs the weights"
        elif weights is not None and not missing:
            found = self._cett.at(layer, lambda: read_cett(trace, weights, layer))
            if isinstance(found, CettSparsity):
                value, mean = float(found.share[token]), float(found.share.mean())
            else:
                missing = found.text if isinstance(found, Unavailable) else "computing …"
        return MeasuredDefinition("CETT 0.2", SHARE.show, value, mean, CETT, missing)

    def _plot(self, state: ViewState, main: MeasuredRun) -> None:
        layer, token, curve = state.selection.layer, state.selection.token, self._view.query_one(ActivationCurve)
        was = self._drawn
        if was is None or was[0] is not main.trace or was[1:] != (layer, token):
            self._drawn = (main.trace, layer, token)
            missing = main.lacks(layer, NEURONS)
            neurons = np.zeros(0, np.float32) if missing else neurons_at(main.trace, layer, token)
            known = neurons[np.isfinite(neurons)]
            if not missing and not known.any():
                missing = (
                    inactive_text(main, layer)
                    if len(known) == len(neurons)
                    else "no activation is a finite number at this token"
                )
            curve.notice, curve.neurons = missing, neurons
            out = len(main.trace.ablated_neurons(layer))
            zeros, unknown = int((neurons == 0).sum()) - out, len(neurons) - len(known)
            note = f"{zeros:,} of {len(neurons) - out:,} exactly 0" + (f", {out:,} ablated" if out else "")
            note += f", {unknown:,} NaN or infinite, drawn as 0" if unknown else ""
            self._noted = "" if missing else note
        title = f"layer {layer} at {main.quote(token)}{state.without}"
        self._view.query_one("#curve-pane", Pane).set_title(title, self._noted)
        curve.chosen = state.selection.neuron
