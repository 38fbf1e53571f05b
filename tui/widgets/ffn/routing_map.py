"""The router of a mixture of experts: the weight of every expert at every token as colors, and the load."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float32
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.reactive import reactive

from edge.change import Edit
from edge.edits import ChooseExpert, ScaleExpert
from edge.picture.bars import bar
from edge.picture.levels import HIDDEN, LEVELS, to_levels
from edge.picture.units import show_number, show_share
from tui.messages import EditToggled, ExpertChosen
from tui.widgets.sparsity_map import FORMS
from tui.widgets.token_map import TokenMap


@dataclass(frozen=True, eq=False)
class Routing:
    """What the map shows: one run, or the difference of two.

    Attributes:
        weights: The weight that the router gives.
        chosen: Whether the router chose the expert, in either run of a difference.
        load: Share of all choices, or its difference.
    """

    weights: Float32[np.ndarray, "expert token"]
    chosen: Bool[np.ndarray, "expert token"]
    load: Float32[np.ndarray, " expert"]
    is_difference: bool = False

    @classmethod
    def none(cls) -> "Routing":
        """A map without experts."""
        return cls(np.zeros((0, 0), np.float32), np.zeros((0, 0), np.bool_), np.zeros(0, np.float32))


class RoutingMap(TokenMap):
    """One line per expert, the first on top; a dot where an expert is not chosen. A full bar is the largest load.

    Attributes:
        routing: What is shown.
        marks: A sign after the number of an expert that an edit acts on: ×, +, −.
        of_layer: The layer.
        can_edit: Whether the run can be run again with edits.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            *("x,space", "ablate", "ablate expert"),
            key_display="x",
            tooltip="Ablate the selected expert in the comparison run, or restore it",
        ),
        Binding(
            *("f", "force", "force expert"),
            tooltip="Make the router choose the selected expert at every token of the comparison run, or stop that",
        ),
    ]

    gutter_cells = 8
    tail_cells = 24
    heading, tail_heading = " expert", "  this token        load"

    routing: reactive[Routing] = reactive(Routing.none, always_update=True)
    marks: reactive[Mapping[int, str]] = reactive(dict)
    of_layer: reactive[int] = reactive(0)
    can_edit: reactive[bool] = reactive(False)

    @property
    def values(self) -> Float32[np.ndarray, "expert token"]:
        return self.routing.weights

    def flip(self, layer: int) -> int:
        """Experts are numbered from the top."""
        return layer

    def watch_routing(self) -> None:
        self.place()

    def watch_marks(self) -> None:
        self.redraw()

    def watch_can_edit(self) -> None:
        self.refresh_bindings()

    def update_cells(self) -> None:
        self.levels = to_levels(self.routing.weights, self.scale, ~self.routing.chosen)
        self._largest = float(np.abs(self.routing.load).max(initial=0.0))
        self.fit_cells()

    def draw_cell(self, row: int, token: int, words: str, tokens: int = 1) -> Segment:
        level = int(self.levels[row, token])
        if level < LEVELS:
            return Segment(words * tokens, self.ink.block(level))
        sign = f"{'·' if level == HIDDEN else '?':^{self.cell}}"
        return Segment((words if words.strip() else sign) * tokens, self.rich_style + self.style_of("label"))

    def draw_gutter(self, line: int) -> list[Segment]:
        mark, look = ("▸", "chosen") if line == self.chosen[0] else (" ", "label")
        return [self.text(f" {mark}{line:>4}{self.marks.get(line, '')}", self.gutter_cells, self.style_of(look))]

    def draw_tail(self, line: int) -> list[Segment]:
        token, of = self.chosen[1], self.routing
        if token >= of.weights.shape[1]:
            return [self.text("", self.tail_cells)]
        load, style = float(of.load[line]), self.style_of("chosen") if line == self.chosen[0] else None
        weight = self._show(float(of.weights[line, token])) if of.chosen[line, token] else "·"
        share = FORMS["points"](100 * load) if of.is_difference else show_share(load)
        length = abs(load) / self._largest if self._largest else 0.0
        return [
            self.text(f"{weight:>12}  ", 14, style),
            self.text(bar(length, 3), 3, self.style_of("first" if load >= 0 else "second")),
            self.text(f"{share:>7}", 7, style or self.style_of("label")),
        ]

    def _show(self, weight: float) -> str:
        return FORMS["index_difference"](weight) if self.routing.is_difference else show_number(weight)

    # ---- choosing and edits -----------------------------------------------------------------------------

    def action_move(self, down: int, right: int) -> None:
        if found := self.beside_chosen(down, right):
            self.post_message(ExpertChosen(*found))

    def on_click(self, event: events.Click) -> None:
        if found := self.under(event):
            self.post_message(ExpertChosen(*found))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Edits need experts, and a model that can run again."""
        if action in ("ablate", "force"):
            return bool(self.can_edit and len(self.routing.load)) or None
        return True

    def action_ablate(self) -> None:
        self._toggle(ScaleExpert(self.of_layer, self.chosen[0], 0.0))

    def action_force(self) -> None:
        self._toggle(ChooseExpert(self.of_layer, self.chosen[0]))

    def _toggle(self, edit: Edit) -> None:
        self.post_message(EditToggled(edit))
