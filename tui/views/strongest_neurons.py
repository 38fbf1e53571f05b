"""What an FFN recalls at one token, for the FFN view: its memories, and how it and edits shift the prediction."""

from collections.abc import Collection

import numpy as np
from jaxtyping import Float32
from textual.widget import Widget

from edge.insight.ablation import Agreement
from edge.insight.memories import Memory, neurons_at, read_coefficients, read_memories
from edge.insight.shift import Shift, read_ffn_shift
from edge.picture.units import show_number
from tui.messages import NeuronChosen
from tui.readings import Readings, Refused
from tui.view_state import Shown, ViewState
from tui.views.effect import NO_WEIGHTS, Answered, came_after, show_shift, title_of
from tui.views.firing import inactive_text
from tui.widgets.line_of_words import LineOfWords
from tui.widgets.memory_list import MemoryList
from tui.widgets.pane import Pane
from tui.widgets.shift_bars import ShiftBars

STRONGEST = 32
"""Memories that are listed."""


def after_of(state: ViewState) -> Float32[np.ndarray, " neuron"] | None:
    """The chosen layer's neurons at the chosen token in the run with edits; None where there is none."""
    beside, layer, token = state.beside, state.selection.layer, state.selection.token
    if not state.edits or beside is None or token >= beside.trace.n_fed or beside.lacks(layer, "ffn.neurons"):
        return None
    return neurons_at(beside.trace, layer, token)


def memories_of(main: Shown, layer: int, token: int, also: Collection[int]) -> tuple[Memory, ...]:
    """The strongest memories, and those asked for; without weights, by coefficients alone."""
    if main.weights is None:
        return read_coefficients(main.trace, layer, token, STRONGEST, also)
    return read_memories(main.trace, main.weights, layer, token, STRONGEST, also)


def agreement_words(state: ViewState, main: Shown, found: Agreement | None, is_roomy: bool) -> str:
    """How far the words of the list agree with ablation, or the key that measures it."""
    if main.weights is None:
        return "by |coefficient| alone: words need the weights"
    name = "agreement with ablation" if is_roomy else "ablation"
    if found is None:
        return f"{name}: not measured{', m measures' if state.facts and state.facts.source else ''}"
    if found.is_poor:
        name = "other words fall when ablated" if is_roomy else "other words fall"
    of = f" ({found.neurons} neurons)" if is_roomy else ""
    return f"{name}: r = {found.r:.2f}, top-{found.top} overlap {found.overlap:.1f}{of}"


class Recall:
    """Draws the panes `memories` and `shift`."""

    def __init__(self, view: Widget) -> None:
        self._view = view
        self._memories: Readings[tuple[Memory, ...]] = Readings("memories", view)
        self._shift: Readings[Shift] = Readings("ffn shift", view)
        self._answered = Answered(view, "answer shift")
        self._given: tuple[int, int] | None = None

    def forget(self) -> None:
        """Another run shows."""
        self._given = None
        self._memories.forget()
        self._shift.forget()

    def draw(self, state: ViewState, main: Shown) -> None:
        """Draws the chosen token of the chosen layer."""
        self._list(state, main)
        self._draw_shift(state, main)
        self._draw_answers(state, main)

    # ---- memories ---------------------------------------------------------------------------------------

    def _list(self, state: ViewState, main: Shown) -> None:
        chosen, grid = state.selection, self._view.query_one(MemoryList)
        pane, ablated = self._view.query_one("#memories-pane", Pane), state.ablated
        off = frozenset(ablated.neurons_of(chosen.layer))
        missing = main.lacks(chosen.layer, "ffn.neurons")
        found = Refused(missing) if missing else self._find(state, main, off)
        grid.set_class(found is None, "awaited")
        grid.of_layer, grid.chosen = chosen.layer, chosen.neuron
        grid.off = range(main.trace.spec.layers[chosen.layer].ffn.d_ff) if chosen.layer in ablated.ffns else off
        grid.after = after_of(state)
        if isinstance(found, Refused):
            grid.notice = found.text
        elif found is not None:
            grid.notice = "" if found else inactive_text(main, chosen.layer)
            grid.memories = found
            if found and not self._follows(state, off):
                self._give(chosen.layer, chosen.neuron, found[0].neuron)
        agreement = main.agreements.get((chosen.layer, chosen.token))
        grid.falls = agreement.falls if agreement else {}
        note = "reading …" if found is None else agreement_words(state, main, agreement, grid.is_roomy)
        of = f"layer {chosen.layer}{' ablated' if chosen.layer in ablated.ffns else ''}"
        pane.entitle(f"{of} at {main.quote(chosen.token)}", "" if missing else note)

    def _find(self, state: ViewState, main: Shown, off: frozenset[int]) -> tuple[Memory, ...] | Refused | None:
        """The strongest; then also those ablated, and the one that the user follows from token to token."""
        layer, token, neuron = state.selection.layer, state.selection.token, state.selection.neuron
        found = self._memories.at((layer, token), lambda: memories_of(main, layer, token, ()))
        if not isinstance(found, tuple):
            return found
        wanted = off | ({neuron} if self._follows(state, off) else frozenset())
        also = tuple(sorted(wanted - {memory.neuron for memory in found}))
        if not also:
            return found
        return self._memories.at((layer, token, also), lambda: memories_of(main, layer, token, also)) or found

    def _follows(self, state: ViewState, off: frozenset[int]) -> bool:
        """The user chose this neuron, or ablated it, and means it at other tokens too.

        In another layer the same number is another neuron.
        """
        layer, neuron = state.selection.layer, state.selection.neuron
        return self._given is not None and self._given[0] == layer and (self._given[1] != neuron or neuron in off)

    def _give(self, layer: int, neuron: int, strongest: int) -> None:
        """Chooses the strongest, for want of a choice of the user's."""
        self._given = (layer, strongest)
        if neuron != strongest:
            self._view.post_message(NeuronChosen(strongest))

    # ---- predictions ------------------------------------------------------------------------------------

    def _draw_shift(self, state: ViewState, main: Shown) -> None:
        layer, token, trace, weights = state.selection.layer, state.selection.token, main.trace, main.weights
        missing, came = main.lacks(layer, "output", "ffn.output"), came_after(main, token)
        found: Shift | Refused | None = Refused(missing or NO_WEIGHTS)
        if weights is not None and not missing:
            found = self._shift.at((layer, token), lambda: read_ffn_shift(trace, weights, layer, token, also=came))
        grid = self._view.query_one("#shift", ShiftBars)
        grid.headings = (f"before FFN {layer}", f"after FFN {layer}")
        show_shift(grid, found, came)
        note = "reading …" if found is None else "▸ came next" if came and isinstance(found, Shift) else ""
        pane = self._view.query_one("#shift-pane", Pane)
        pane.entitle(f"layer {layer} at {main.quote(token)}{_bits(found)}{state.without}", note)

    def _draw_answers(self, state: ViewState, main: Shown) -> None:
        found = self._answered.show(state, main, self._view.query_one("#answers", ShiftBars))
        is_any = state.beside is not None or bool(state.edits)
        self._view.query_one("#answered", LineOfWords).say(f" {title_of(state, main, found)}" if is_any else "")


def _bits(found: Shift | Refused | None) -> str:
    return f", {show_number(found.bits)} bits" if isinstance(found, Shift) else ""
