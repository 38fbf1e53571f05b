"""The strongest neurons of an FFN at one token, and how it and edits change the prediction."""

from collections.abc import Collection, Container

import numpy as np
from jaxtyping import Float32
from textual.widget import Widget

from edge.insight.ablation import Agreement, ListAgreement
from edge.insight.neurons import Neuron, neurons_at, read_coefficients, read_neurons
from edge.insight.prediction_change import DistributionChange, read_ffn_change
from edge.mixture_neurons import ablated_neurons, expert_neurons
from edge.picture.units import show_number
from models.sites import FFN_OUTPUT, NEURONS
from tui.messages import NeuronChosen
from tui.result_cache import ResultCache, Unavailable
from tui.view_state import MeasuredRun, ViewState
from tui.views.activations import inactive_text
from tui.views.mixture import mixture_of
from tui.views.prediction_change import NO_WEIGHTS, PredictionChange, following_id, full_title, show_shift
from tui.widgets.change_bars import ChangeBars
from tui.widgets.ffn.neuron_list import NeuronList
from tui.widgets.pane import Pane
from tui.widgets.text_line import TextLine

STRONGEST = 32
"""Neurons in the list."""


_BORDER = 2
"""Cells that a note leaves on its border."""


def after_of(state: ViewState) -> Float32[np.ndarray, " neuron"] | None:
    """The chosen layer's neurons at the chosen token in the run with edits; None where there is none."""
    compared, layer, token = state.compared, state.selection.layer, state.selection.token
    if not state.edits or compared is None or token >= compared.trace.n_fed or compared.lacks(layer, NEURONS):
        return None
    return neurons_at(compared.trace, layer, token)


def off_of(state: ViewState, main: MeasuredRun) -> Container[int]:
    """Ablated neurons of the chosen layer: individually, with their expert, or with the whole FFN."""
    layer, kind = state.selection.layer, main.trace.spec.layers[state.selection.layer].ffn
    return range(kind.d_ff) if layer in state.ablated.ffns else frozenset(ablated_neurons(kind, state.ablated, layer))


def strongest_neurons(
    main: MeasuredRun, layer: int, token: int, also: Collection[int], among: range | None = None
) -> tuple[Neuron, ...]:
    """The strongest neurons, of `among` only, and those in `also`; without weights, by coefficient only."""
    if main.weights is None:
        return read_coefficients(main.trace, layer, token, STRONGEST, also, among)
    return read_neurons(main.trace, main.weights, layer, token, STRONGEST, also, among=among)


def agreement_words(state: ViewState, main: MeasuredRun, found: Agreement | None, cells: int) -> str:
    """Agreement of both lists of promoted tokens with ablation, or the key that measures it."""
    if main.weights is None:
        return "by |activation| alone: promoted tokens need the weights"
    if found is None:
        key = ", m measures" if state.model and state.model.source else ""
        return _fitting(
            cells,
            f"agreement of direct tokens with ablation: not measured{key}",
            f"agreement with ablation: not measured{key}",
        )
    direct, through, top = found.direct, found.through, found.direct.top
    short = f"direct r {_numbers(direct, f' of {top}')}; later layers r {_numbers(through, f' of {top}')}"
    return _fitting(
        cells,
        f"agreement with ablation, r and common top-{top} tokens: "
        f"direct {_numbers(direct)}; through later layers {_numbers(through)}",
        f"agreement with ablation: {short}",
        short,
        f"common top-{top} tokens: direct {direct.overlap:.1f}, later layers {through.overlap:.1f}",
    )


def _numbers(of: ListAgreement, top: str = "") -> str:
    return f"{of.r:.2f}, {of.overlap:.1f}{top}{' (poor)' if of.is_poor else ''}"


def _fitting(cells: int, *longest_first: str) -> str:
    """The longest that fits; the last one where none does."""
    return next((text for text in longest_first if len(text) <= cells), longest_first[-1])


class NeuronPanes:
    """Draws the panes `neurons` and `lens`.

    Attributes:
        is_of_expert: Whether only the neurons of the chosen expert are listed, where the FFN is a mixture.
    """

    def __init__(self, view: Widget) -> None:
        self._view = view
        self._neurons: ResultCache[tuple[Neuron, ...]] = ResultCache("neurons", view)
        self._shift: ResultCache[DistributionChange] = ResultCache("ffn lens", view)
        self._change = PredictionChange(view, "change, ffn")
        self._given: tuple[int, int] | None = None
        self.is_of_expert = False

    def clear(self) -> None:
        """Drops the results of the previous run."""
        self._given = None
        self._neurons.clear()
        self._shift.clear()

    def draw(self, state: ViewState, main: MeasuredRun) -> None:
        """Draws the chosen token of the chosen layer."""
        self._list(state, main)
        self._draw_shift(state, main)
        self._draw_change(state, main)

    # ---- neurons ----------------------------------------------------------------------------------------

    def _list(self, state: ViewState, main: MeasuredRun) -> None:
        chosen, grid = state.selection, self._view.query_one(NeuronList)
        pane, ablated = self._view.query_one("#neurons-pane", Pane), state.ablated
        off = frozenset(ablated.neurons_of(chosen.layer))
        missing, among = main.lacks(chosen.layer, NEURONS), self.among(state, main)
        found = Unavailable(missing) if missing else self._find(state, main, off, among)
        grid.set_class(found is None, "computing")
        grid.of_layer, grid.chosen = chosen.layer, chosen.neuron
        grid.off, grid.kind = off_of(state, main), main.trace.spec.layers[chosen.layer].ffn
        grid.after = after_of(state)
        if isinstance(found, Unavailable):
            grid.notice = found.text
        elif found is not None:
            grid.notice = "" if found else inactive_text(main, chosen.layer, chosen.expert if among else None)
            grid.neurons = found
            if found and not self._follows(state, off, among):
                self._give(chosen.layer, chosen.neuron, found[0].neuron)
        agreement = main.agreements.get((chosen.layer, chosen.token))
        grid.measured = agreement
        note = "computing …" if found is None else agreement_words(state, main, agreement, grid.view_cells - _BORDER)
        of = f"layer {chosen.layer}{' ablated' if chosen.layer in ablated.ffns else ''}"
        only = f", expert {chosen.expert} only" if among else ""
        pane.set_title(f"{of} at {main.quote(chosen.token)}{only}", "" if missing else note)

    def among(self, state: ViewState, main: MeasuredRun) -> range | None:
        """The neurons of the chosen expert, if only those are listed."""
        kind = mixture_of(main, state.selection.layer)
        return expert_neurons(kind, state.selection.expert) if kind is not None and self.is_of_expert else None

    def _find(
        self, state: ViewState, main: MeasuredRun, off: frozenset[int], among: range | None
    ) -> tuple[Neuron, ...] | Unavailable | None:
        """The strongest; also those ablated, and the neuron that the user chose at another token."""
        layer, token, neuron = state.selection.layer, state.selection.token, state.selection.neuron
        at = layer, token, among
        found = self._neurons.at(at, lambda: strongest_neurons(main, layer, token, (), among))
        if not isinstance(found, tuple):
            return found
        wanted = off | ({neuron} if self._follows(state, off, among) else frozenset())
        wanted = wanted if among is None else wanted & set(among)
        also = tuple(sorted(wanted - {memory.neuron for memory in found}))
        if not also:
            return found
        return self._neurons.at((*at, also), lambda: strongest_neurons(main, layer, token, also, among)) or found

    def _follows(self, state: ViewState, off: frozenset[int], among: range | None) -> bool:
        """Whether the user chose or ablated this neuron, so that it stays chosen at other tokens.

        In another layer the same number is another neuron.
        """
        layer, neuron = state.selection.layer, state.selection.neuron
        if among is not None and neuron not in among:
            return False
        return self._given is not None and self._given[0] == layer and (self._given[1] != neuron or neuron in off)

    def _give(self, layer: int, neuron: int, strongest: int) -> None:
        """Chooses the strongest neuron, unless the user chose one."""
        self._given = (layer, strongest)
        if neuron != strongest:
            self._view.post_message(NeuronChosen(strongest))

    # ---- predictions ------------------------------------------------------------------------------------

    def _draw_shift(self, state: ViewState, main: MeasuredRun) -> None:
        layer, token, trace, weights = state.selection.layer, state.selection.token, main.trace, main.weights
        missing, next_ids = main.lacks(layer, "output", FFN_OUTPUT), following_id(main, token)
        found: DistributionChange | Unavailable | None = Unavailable(missing or NO_WEIGHTS)
        if weights is not None and not missing:
            found = self._shift.at((layer, token), lambda: read_ffn_change(trace, weights, layer, token, also=next_ids))
        grid = self._view.query_one("#lens", ChangeBars)
        grid.headings = ("before the FFN", "after the FFN")
        show_shift(grid, found, next_ids)
        note = (
            "computing …"
            if found is None
            else "▸ next token"
            if next_ids and isinstance(found, DistributionChange)
            else ""
        )
        pane = self._view.query_one("#lens-pane", Pane)
        pane.set_title(f"layer {layer} at {main.quote(token)}{_bits(found)}{state.without}", note)

    def _draw_change(self, state: ViewState, main: MeasuredRun) -> None:
        found = self._change.show(state, main, self._view.query_one("#edited", ChangeBars))
        is_any = state.compared is not None or bool(state.edits)
        self._view.query_one("#edited-title", TextLine).show_text(
            f" {full_title(state, main, found)}" if is_any else ""
        )


def _bits(found: DistributionChange | Unavailable | None) -> str:
    return f", KL(after ‖ before) {show_number(found.bits)} bits" if isinstance(found, DistributionChange) else ""
