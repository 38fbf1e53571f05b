"""The strongest neurons of one FFN at one token: coefficient, contribution, promoted tokens."""

from collections.abc import Container, Sequence

import numpy as np
from jaxtyping import Float32
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.reactive import reactive
from textual.strip import Strip

from edge.edits import ScaleNeuron
from edge.insight.ablation import Agreement
from edge.insight.neurons import Neuron
from edge.mixture_neurons import expert_of
from edge.picture.bars import bar
from edge.picture.pieces import quote_piece
from edge.picture.units import show_measured
from models.spec import FFN, MoE
from tui.messages import EditToggled, NeuronChosen
from tui.widgets.grid import Grid

ROOMY = 68
"""Columns from which switches are labeled, and bars are longer."""

WIDE = 110
"""The same width with measured tokens, which need space for two lists."""

PAIR = 40
"""Width of the tokens from which both lists are shown: promoted tokens, and those whose logits fall."""

DIRECT = ("promoted tokens, direct", "direct tokens", "direct")
THROUGH = ("promoted tokens, through later layers", "through later layers", "later layers")
"""Titles of the list of promoted tokens, longest first."""

_MARK, _NEURON, _NUMBER, _AFTER = 2, 8, 8, 11
_EXPERT, _EXPERT_ALONE = 20, 8


class NeuronList(Grid):
    """One row per neuron, with a switch. A full bar is the largest coefficient in the list.

    Attributes:
        neurons: Neurons of one layer, strongest first.
        of_layer: The layer.
        chosen: The neuron under the cursor.
        off: Ablated neurons of this layer.
        kind: The FFN; of a mixture, the expert of each neuron is shown.
        after: The activation of each neuron at this token with the edits; None without edits.
        measured: Tokens promoted through later layers, and tokens whose logits fall when a neuron is ablated; None
            where not measured. Neurons that were not measured keep their direct tokens.
    """

    DEFAULT_CSS = "NeuronList { overflow-x: hidden; }"

    neurons: reactive[tuple[Neuron, ...]] = reactive(())
    of_layer: reactive[int] = reactive(0)
    chosen: reactive[int] = reactive(0)
    off: reactive[Container[int]] = reactive(frozenset())
    kind: reactive[FFN | None] = reactive(None)
    after: reactive[Float32[np.ndarray, " neuron"] | None] = reactive(None, always_update=True)
    measured: reactive[Agreement | None] = reactive(None)

    def watch_neurons(self) -> None:
        self._resize()
        self._show_chosen()

    def watch_chosen(self) -> None:
        self._show_chosen()
        self.redraw()

    def watch_off(self) -> None:
        self.redraw()

    def watch_kind(self) -> None:
        self.redraw()

    def watch_after(self) -> None:
        self.redraw()

    def watch_measured(self) -> None:
        self.redraw()

    def on_resize(self) -> None:
        self._resize()
        self._show_chosen()

    def _resize(self) -> None:
        sizes = [abs(memory.coefficient) for memory in self.neurons if np.isfinite(memory.coefficient)]
        self._largest = max(sizes, default=0.0)
        # Not less than what can be seen: a body of another size makes Textual lay out the whole screen.
        self.resize_body(self.view_cells, max(len(self.neurons), self.view_lines))
        self._refresh_scrollbars()  # Textual would keep one that a shorter list needs no more

    @property
    def _place(self) -> int:
        """The line of the chosen neuron; -1 where it is not in the list."""
        return next((line for line, memory in enumerate(self.neurons) if memory.neuron == self.chosen), -1)

    def _show_chosen(self) -> None:
        self.show_cell(0, max(0, self._place))

    @property
    def _cells(self) -> tuple[int, int, int]:
        """Width of a switch, of a bar, and of the tokens."""
        switch, cells = (10, 10) if self.view_cells >= (ROOMY if self.measured is None else WIDE) else (4, 4)
        numbers = 2 * _NUMBER + (0 if self.after is None else _AFTER)
        numbers += self._expert_cells
        return switch, cells, max(0, self.view_cells - _MARK - switch - _NEURON - cells - numbers - 2)

    @property
    def _expert_cells(self) -> int:
        """Width of the expert of a neuron, with its number there if there is space."""
        if not isinstance(self.kind, MoE):
            return 0
        return _EXPERT if self.view_cells >= WIDE else _EXPERT_ALONE

    def _expert(self, neuron: int) -> str:
        """`3, neuron 17`, or only the expert."""
        if not isinstance(self.kind, MoE):
            return ""
        expert, within = expert_of(self.kind, neuron)
        name = "shared" if expert is None else str(expert)
        return f"{name}, neuron {within}" if self._expert_cells == _EXPERT else name

    def draw_ruler(self) -> Strip:
        switch, cells, words = self._cells
        after = "" if self.after is None else f"{'with edits':>{_AFTER}}"
        coefficient = f"{'activation':>{cells + _NUMBER}}{after}"
        expert = f"{'expert' if self._expert_cells else '':<{self._expert_cells}}"
        heads = f"{'':<{_MARK + switch}}{'neuron':<{_NEURON}}{expert}{coefficient}{'norm':>{_NUMBER}}  "
        label, own = self.style_of("label"), self._promoted_cells(words)
        return self.fit(
            [
                self.text(heads, self.view_cells - words, label),
                self.text(_longest(DIRECT if self.measured is None else THROUGH, own), own, label),
                self.text("fall when ablated" if words - own > 17 else "fall", words - own, label),
            ],
            self.width,
        )

    def _promoted_cells(self, words: int) -> int:
        """Width of the promoted tokens: half the space where those that fall are shown too."""
        return (words + 2) // 2 if self.measured is not None and words >= PAIR else words

    def draw_body(self, line: int) -> Strip:
        if line >= len(self.neurons):
            return self.fit([], self.view_cells)
        memory, (switch, cells, room) = self.neurons[line], self._cells
        is_chosen, is_off = memory.neuron == self.chosen, memory.neuron in self.off
        style, label = self.style_of("chosen") if is_chosen else None, self.style_of("label")
        state = ("× ablated" if is_off else "") if switch > 4 else ("×" if is_off else "")
        share = abs(memory.coefficient) / self._largest if self._largest else 0.0
        adds = "–" if memory.norm is None else show_measured(memory.norm, "")
        parts: list[Segment] = [
            self.text("▸" if is_chosen else " ", _MARK, style),
            self.text(state, switch, self.style_of("unknown") if is_off else label),
            self.text(str(memory.neuron), _NEURON, style),
            self.text(self._expert(memory.neuron), self._expert_cells, style or label),
            self.text(bar(share, cells), cells, self.style_of("first" if memory.coefficient >= 0 else "second")),
            self.text(f"{show_measured(memory.coefficient, ''):>{_NUMBER}}", _NUMBER, style),
            *self._after(memory.neuron, style),
            self.text(f"{adds:>{_NUMBER}}  ", _NUMBER + 2),
            *self._words(memory, room, style or self.rich_style),
        ]
        return self.fit(parts, self.view_cells)

    def _words(self, memory: Neuron, room: int, style: Style) -> list[Segment]:
        """Its promoted tokens, through later layers where measured; then the tokens that fall when it is ablated."""
        if self.measured is None or memory.neuron not in self.measured.promoted_tokens:
            name = "" if self.measured is None or not memory.promoted_tokens else "direct: "
            joined = _join(memory, memory.promoted_tokens, room - len(name))
            return [self.text(name, len(name), self.style_of("label")), self.text(joined, room - len(name), style)]
        own = self._promoted_cells(room)
        promoted = _join(memory, self.measured.promoted_tokens[memory.neuron], own - 1)
        falls = _fit_words(self.measured.falling_tokens[memory.neuron], room - own)
        return [self.text(promoted, own, style), self.text(falls, room - own, style)]

    def _after(self, neuron: int, style: Style | None) -> list[Segment]:
        if self.after is None:
            return []
        words = show_measured(float(self.after[neuron]), "") if neuron < len(self.after) else "–"
        return [self.text(f"{'→ ' + words:>{_AFTER}}", _AFTER, style)]

    def action_move(self, down: int, right: int) -> None:
        if self.neurons and down:
            line = min(max(self._place + down, 0), len(self.neurons) - 1)
            self.post_message(NeuronChosen(self.neurons[line].neuron))

    def on_click(self, event: events.Click) -> None:
        line, at = self.body_line(event), self.body_cell(event)
        if line is None or not 0 <= line < len(self.neurons):
            return
        neuron = self.neurons[line].neuron
        if at is not None and _MARK <= at[0] < _MARK + self._cells[0]:
            self.post_message(EditToggled(ScaleNeuron(self.of_layer, neuron, 0.0)))
        self.post_message(NeuronChosen(neuron))


def _longest(names: Sequence[str], room: int) -> str:
    """The longest of the names that leaves a cell free; the last one where none does."""
    return next((name for name in names if len(name) < room), names[-1])


def _join(memory: Neuron, promoted: tuple[str, ...], room: int) -> str:
    """As many promoted tokens as fit."""
    if not np.isfinite(memory.coefficient):
        return "not a finite number"
    if memory.coefficient == 0:
        return "0 at this token"
    return _fit_words(promoted, room)


def _fit_words(pieces: tuple[str, ...], room: int) -> str:
    joined = ""
    for piece in pieces:
        longer = f"{joined} {quote_piece(piece)}".lstrip()
        if cell_len(longer) > room and joined:
            return joined
        joined = longer
    return joined
