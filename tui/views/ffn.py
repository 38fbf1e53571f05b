"""FFN: what fired at the chosen token, what it recalls, and what the model answers with a neuron ablated."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.geometry import Size
from textual.widget import Widget

from edge.edits import Ablate, ScaleNeuron
from edge.measure.registry import MEASURES
from edge.picture.pieces import quote_piece
from edge.tables import Column, Table
from tui.jobs.ablate import AblateNeurons
from tui.jobs.job import JobRequested
from tui.messages import EditToggled, OptionsChosen
from tui.options import after
from tui.result_cache import ResultReady
from tui.view_state import ViewState
from tui.views.activations import ActivationPanes
from tui.views.sparsity import SIDES, SparsityPane, can_pair
from tui.views.strongest_neurons import NeuronPanes, after_of, strongest_neurons
from tui.views.view import View
from tui.widgets.activation_curve import ActivationCurve
from tui.widgets.change_bars import ChangeBars
from tui.widgets.legend import Legend
from tui.widgets.neuron_list import NeuronList
from tui.widgets.pane import Pane
from tui.widgets.sparsity_definitions import SparsityDefinitions
from tui.widgets.sparsity_map import SparsityMap
from tui.widgets.text_line import TextLine

TALL = 40
"""Lines from which on the map takes what its layers need, and memories stand beside map and definitions."""

COLUMNS = (
    Column("layer", "layer"),
    Column("token", "token"),
    Column("piece", "piece"),
    Column("neuron", "neuron"),
    Column("coefficient", "coefficient", ".4g"),
    Column("coefficient_with_edits", "coefficient with edits", ".4g"),
    Column("adds_norm", "adds, norm", ".4g"),
    Column("promotes", "promoted directly"),
    Column("promotes_through_later_layers", "promoted through later layers"),
    Column("fall_without_it", "fall when ablated"),
    Column("ablated", "ablated"),
    Column("edits", "edits"),
)
"""Of the table of memories."""


class FfnView(View):
    """FFN: what fired, and what it recalls."""

    DEFAULT_CSS = """
    FfnView > .panes { layout: grid; grid-size: 2 3; grid-columns: 1fr 1fr; grid-rows: 4fr 8 3fr; }
    FfnView #shift-pane { row-span: 2; }
    FfnView.tall #shift-pane { row-span: 1; }
    FfnView.tall #memories-pane { row-span: 2; }
    FfnView.folded #shift-pane, FfnView.folded #memories-pane { row-span: 1; }
    FfnView .answers { height: 1fr; }
    FfnView .awaited { text-style: dim; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            *("x,space", "ablate", "ablate neuron"),
            key_display="x",
            tooltip="Ablate the chosen neuron in a run beside this one, or end that",
        ),
        Binding(
            "m",
            "measure",
            "measure tokens",
            tooltip="Measure which tokens the 8 strongest neurons promote through later layers",
        ),
        Binding("z", "ablate_all", "ablate FFN", tooltip="Ablate the FFN of the chosen layer beside, or end that"),
        Binding("g", "definition", "definition", tooltip="Measure silence by the next definition"),
        Binding("v", "side", "other run", tooltip="Map this run, the one beside it, or their difference"),
        Binding("s", "zoom", "zoom curve", tooltip="Show all neurons of the curve, or only those that fire"),
    ]

    title = "FFN"
    tabs: ClassVar[dict[str, str]] = {
        "ffn": "sparsity",
        "memories": "memories",
        "shift": "prediction",
        "definitions": "definitions",
        "curve": "curve",
    }

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._map, self._firing, self._recall = SparsityPane(), ActivationPanes(self), NeuronPanes(self)
        self._state: ViewState | None = None
        self._of: tuple[object, ...] = (None, None)
        self._offered = (False, False, False)

    def compose_panes(self) -> Iterator[Widget]:
        yield Pane("ffn", "sparsity", SparsityMap(id="ffn"), Legend(id="ffn-legend"))
        yield Pane("memories", "strongest memories", NeuronList(id="memories"))
        yield Pane("definitions", "definitions", SparsityDefinitions(id="definitions"))
        answers = Vertical(TextLine(id="answered"), ChangeBars(id="answers"), classes="answers")
        yield Pane("shift", "prediction", ChangeBars(id="shift"), answers)
        yield Pane("curve", "sorted |activation|", ActivationCurve(id="curve"))

    def show_notice(self, notice: str) -> None:
        super().show_notice(notice)
        self._map.redraw()
        self._firing.redraw()

    def make_room(self, size: Size) -> None:
        """Gives the map the lines that its layers need, where there is much room."""
        height, panes = size.height, self.query_one(".panes", Container)
        is_tall = height >= TALL and not self.is_folded
        self.set_class(is_tall, "tall")
        rows = None
        if is_tall and self._state is not None and self._state.main is not None:
            layers = self._state.main.trace.spec.n_layers
            rows = f"{min(max(layers + 5, 9), height * 9 // 20)} 8 1fr"
        panes.styles.grid_rows = rows

    # ---- drawing ----------------------------------------------------------------------------------------

    def draw(self, state: ViewState) -> None:
        assert state.main is not None
        self._state = state
        self._forget_what_is_gone(state)
        self._map.draw(self, state)
        self._firing.draw(state, state.main)
        self._recall.draw(state, state.main)
        offered = (can_pair(state), self._runs, self._has_weights)
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def on_result_ready(self, message: ResultReady) -> None:
        message.stop()
        message.keep()
        if self._state is not None and self._state.main is not None and not self._notice:
            self.draw(self._state)

    def _forget_what_is_gone(self, state: ViewState) -> None:
        """Readings are of the runs and weights that show; others are dropped."""
        was, main = self._of, state.main
        self._of = (main.trace, main.weights) if main else (None, None)
        changed = [one is not other for one, other in zip(was, self._of, strict=True)]
        if any(changed):
            self._firing.forget()
            self._recall.forget()
            self.make_room(self.size)

    # ---- keys -------------------------------------------------------------------------------------------

    @property
    def _runs(self) -> bool:
        return self._state is not None and self._state.can_run

    @property
    def _has_weights(self) -> bool:
        return self._state is not None and self._state.main is not None and self._state.main.weights is not None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grayed out where nothing can run again, or nothing runs beside."""
        if action in ("ablate", "ablate_all"):
            return True if self._runs else None
        if action == "measure":
            return True if self._runs and self._has_weights else None
        if action == "side":
            return True if self._state is not None and can_pair(self._state) else None
        return True

    def action_ablate(self) -> None:
        if self._state is not None:
            chosen = self._state.selection
            self.post_message(EditToggled(ScaleNeuron(chosen.layer, chosen.neuron, 0.0)))

    def action_measure(self) -> None:
        state = self._state
        if state is not None and state.main is not None:
            chosen = state.selection
            self.post_message(JobRequested(AblateNeurons(state.main.trace, chosen.layer, chosen.token)))

    def action_ablate_all(self) -> None:
        if self._state is not None:
            self.post_message(EditToggled(Ablate(f"layers.{self._state.selection.layer}.ffn")))

    def action_definition(self) -> None:
        if self._state is not None:
            options = self._state.options
            self.post_message(OptionsChosen(replace(options, sparsity=after(MEASURES, options.sparsity))))

    def action_side(self) -> None:
        if self._state is not None:
            self._map.side = after(SIDES, self._map.side)
            self._map.draw(self, self._state)

    def action_zoom(self) -> None:
        curve = self.query_one(ActivationCurve)
        curve.is_zoomed = not curve.is_zoomed

    def table(self, state: ViewState) -> Table | None:
        """The memories of the chosen token, the strongest first."""
        if state.main is None:
            return None
        layer, token, pieces = state.selection.layer, state.selection.token, state.main.trace.pieces
        if state.main.lacks(layer, "ffn.neurons"):
            return None
        off, after, agreement = state.ablated, after_of(state), state.main.agreements.get((layer, token))
        names = ", ".join(state.run_edits)
        through, falls = (agreement.promotes, agreement.falls) if agreement else ({}, {})
        rows = [
            (
                *(layer, token, pieces[token], memory.neuron, memory.coefficient),
                None if after is None else float(after[memory.neuron]),
                memory.adds,
                *(
                    " ".join(map(quote_piece, pieces))
                    for pieces in (memory.promotes, *(of.get(memory.neuron, ()) for of in (through, falls)))
                ),
                *("yes" if off.has_neuron(layer, memory.neuron) else "no", names),
            )
            for memory in strongest_neurons(state.main, layer, token, off.neurons_of(layer))
        ]
        return Table(COLUMNS, rows)
