"""What an FFN recalls at one token, for the FFN view: its memories, and how it and edits shift the prediction."""

from collections.abc import Collection

from textual.widget import Widget

from edge.edits import Edit, ScaleNeuron
from edge.insight.ablation import Agreement
from edge.insight.memories import Memory, read_coefficients, read_memories
from edge.insight.shift import Shift, read_answer_shift, read_ffn_shift
from edge.picture.units import show_number
from tui.messages import NeuronChosen
from tui.readings import Readings, Refused
from tui.sight import Shown, Sight
from tui.views.firing import SILENT
from tui.widgets.line_of_words import LineOfWords
from tui.widgets.memory_list import MemoryList
from tui.widgets.pane import Pane
from tui.widgets.shift_bars import ShiftBars

STRONGEST = 32
"""Memories that are listed."""

NO_WEIGHTS = "the prediction needs the weights, which a saved trace has not\n\nopen its model with o and run the prompt"

AWAITS = "x switches the chosen neuron off, z the whole FFN:\nwhat the model answers then stands here"


def switched_off(edits: tuple[Edit, ...], layer: int) -> frozenset[int]:
    """Neurons of a layer that edits silence at every token."""
    return frozenset(
        edit.neuron
        for edit in edits
        if isinstance(edit, ScaleNeuron) and edit.layer == layer and edit.factor == 0 and edit.tokens is None
    )


def memories_of(main: Shown, layer: int, token: int, also: Collection[int]) -> tuple[Memory, ...]:
    """The strongest memories, and those asked for; without weights, by coefficients alone."""
    if main.weights is None:
        return read_coefficients(main.trace, layer, token, STRONGEST, also)
    return read_memories(main.trace, main.weights, layer, token, STRONGEST, also)


def agreement_words(sight: Sight, main: Shown, found: Agreement | None, is_roomy: bool) -> str:
    """How far the words of the list agree with ablation, or the key that measures it."""
    if main.weights is None:
        return "by |coefficient| alone: words need the weights"
    name = "agreement with ablation" if is_roomy else "ablation"
    if found is None:
        return f"{name}: not measured{', m measures' if sight.facts and sight.facts.source else ''}"
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
        self._answers: Readings[Shift] = Readings("answer shift", view)
        self._given: tuple[int, int] | None = None

    def forget(self) -> None:
        """Another run shows."""
        self._given = None
        for readings in (self._memories, self._shift, self._answers):
            readings.forget()

    def forget_beside(self) -> None:
        """Another run shows beside."""
        self._answers.forget()

    def draw(self, sight: Sight, main: Shown) -> None:
        """Draws the chosen token of the chosen layer."""
        self._list(sight, main)
        self._draw_shift(sight, main)
        self._draw_answers(sight, main)

    # ---- memories ---------------------------------------------------------------------------------------

    def _list(self, sight: Sight, main: Shown) -> None:
        chosen, grid = sight.selection, self._view.query_one(MemoryList)
        pane, off = self._view.query_one("#memories-pane", Pane), switched_off(sight.edits, chosen.layer)
        missing = main.lacks(chosen.layer, "ffn.neurons")
        found = Refused(missing) if missing else self._find(sight, main, off)
        grid.set_class(found is None, "awaited")
        grid.of_layer, grid.chosen, grid.off = chosen.layer, chosen.neuron, off
        if isinstance(found, Refused):
            grid.notice = found.text
        elif found is not None:
            grid.notice = "" if found else SILENT
            grid.memories = found
            if found and not self._follows(sight, off):
                self._give(chosen.layer, chosen.neuron, found[0].neuron)
        agreement = main.agreements.get((chosen.layer, chosen.token))
        grid.falls = agreement.falls if agreement else {}
        note = "reading …" if found is None else agreement_words(sight, main, agreement, grid.is_roomy)
        pane.entitle(f"layer {chosen.layer} at {main.quote(chosen.token)}", "" if missing else note)

    def _find(self, sight: Sight, main: Shown, off: frozenset[int]) -> tuple[Memory, ...] | Refused | None:
        """The strongest; then also those switched off, and the one that the user follows from token to token."""
        layer, token, neuron = sight.selection.layer, sight.selection.token, sight.selection.neuron
        found = self._memories.at((layer, token), lambda: memories_of(main, layer, token, ()))
        if not isinstance(found, tuple):
            return found
        wanted = off | ({neuron} if self._follows(sight, off) else frozenset())
        also = tuple(sorted(wanted - {memory.neuron for memory in found}))
        if not also:
            return found
        return self._memories.at((layer, token, also), lambda: memories_of(main, layer, token, also)) or found

    def _follows(self, sight: Sight, off: frozenset[int]) -> bool:
        """The user chose this neuron, or switched it off, and means it at other tokens too.

        In another layer the same number is another neuron.
        """
        layer, neuron = sight.selection.layer, sight.selection.neuron
        return self._given is not None and self._given[0] == layer and (self._given[1] != neuron or neuron in off)

    def _give(self, layer: int, neuron: int, strongest: int) -> None:
        """Chooses the strongest, for want of a choice of the user's."""
        self._given = (layer, strongest)
        if neuron != strongest:
            self._view.post_message(NeuronChosen(strongest))

    # ---- predictions ------------------------------------------------------------------------------------

    def _draw_shift(self, sight: Sight, main: Shown) -> None:
        layer, token, trace, weights = sight.selection.layer, sight.selection.token, main.trace, main.weights
        missing, came = main.lacks(layer, "output", "ffn.output"), _came(main, token)
        found: Shift | Refused | None = Refused(missing or NO_WEIGHTS)
        if weights is not None and not missing:
            found = self._shift.at((layer, token), lambda: read_ffn_shift(trace, weights, layer, token, also=came))
        grid = self._view.query_one("#shift", ShiftBars)
        grid.headings = (f"before FFN {layer}", f"after FFN {layer}")
        _show(grid, found, came)
        note = "reading …" if found is None else "▸ came next" if came and isinstance(found, Shift) else ""
        pane = self._view.query_one("#shift-pane", Pane)
        pane.entitle(f"layer {layer} at {main.quote(token)}{_bits(found)}", note)

    def _draw_answers(self, sight: Sight, main: Shown) -> None:
        token, beside, found = sight.selection.token, sight.beside, _why_no_answer(sight, main)
        came = _came(main, token)
        if found is None and beside is not None and main.weights is not None and beside.weights is not None:
            of, by = (main.trace, main.weights), (beside.trace, beside.weights)
            found = self._answers.at(token, lambda: read_answer_shift(*of, *by, token, also=came))
        grid = self._view.query_one("#answers", ShiftBars)
        grid.headings = ("this run", beside.name if beside else "")
        _show(grid, found, came)
        apart = " apart" if isinstance(found, Shift) else ""
        words = f" the model's answer after {main.quote(token)}{_bits(found)}{apart}" if beside else ""
        self._view.query_one("#answered", LineOfWords).say(words)


def _why_no_answer(sight: Sight, main: Shown) -> Shift | Refused | None:
    """Why there is no second answer, in words; None where there may be one."""
    beside = sight.beside
    if beside is None:
        return Refused(
            f"the answer with {_join(sight.edits)} stands here\nonce that has run" if sight.edits else AWAITS
        )
    return None if main.weights is not None and beside.weights is not None else Refused(NO_WEIGHTS)


def _join(edits: tuple[Edit, ...]) -> str:
    return ", ".join(map(str, edits))


def _came(main: Shown, token: int) -> tuple[int, ...]:
    """The id that came after a token; none after the last."""
    return main.trace.tokens[token + 1 : token + 2]


def _bits(found: Shift | Refused | None) -> str:
    return f", {show_number(found.bits)} bits" if isinstance(found, Shift) else ""


def _show(grid: ShiftBars, found: Shift | Refused | None, came: tuple[int, ...]) -> None:
    """Words where they are known, else why not; what showed before stays, dimmed, while they are awaited."""
    grid.set_class(found is None, "awaited")
    grid.notice = found.text if isinstance(found, Refused) else ""
    if isinstance(found, Shift):
        grid.came = came[0] if came else None
        grid.words = found.words
