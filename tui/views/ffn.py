"""FFN: active neurons and experts at the chosen token, their contribution, and the prediction with one ablated."""

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
from models.sites import NEURONS
from tui.jobs.ablate import AblateNeurons
from tui.jobs.job import JobRequested
from tui.messages import EditToggled, OptionsChosen
from tui.options import after
from tui.result_cache import ResultReady
from tui.view_state import ViewState
from tui.views.activations import ActivationPanes
from tui.views.mixture import mixture_of
from tui.views.routing import RoutingPane, routing_pane
from tui.views.sparsity import SIDES, SparsityPane, can_pair
from tui.views.strongest_neurons import NeuronPanes, after_of, off_of, strongest_neurons
from tui.views.view import View
from tui.widgets.change_bars import ChangeBars
from tui.widgets.ffn.activation_curve import ActivationCurve
from tui.widgets.ffn.neuron_list import NeuronList
from tui.widgets.ffn.sparsity_definitions import SparsityDefinitions
from tui.widgets.legend import Legend
from tui.widgets.pane import Pane
from tui.widgets.sparsity_map import SparsityMap
from tui.widgets.text_line import TextLine

TALL = 40
"""Lines from which the map is as high as its layers, and neurons, map and definitions fit side by side."""

COLUMNS = (
    Column("layer", "layer"),
    Column("token", "token"),
    Column("piece", "piece"),
    Column("neuron", "neuron"),
    Column("coefficient", "coefficient", ".4g"),
    Column("coefficient_with_edits", "coefficient with edits", ".4g"),
    Column("norm", "norm", ".4g"),
    Column("promoted_tokens", "promoted tokens, direct"),
    Column("promoted_through_later_layers", "promoted tokens, through later layers"),
    Column("fall_when_ablated", "fall when ablated"),
    Column("ablated", "ablated"),
    Column("edits", "edits"),
)
"""Columns of the table of neurons."""


class FfnView(View):
    """FFN: activation sparsity, and the strongest neurons."""

    DEFAULT_CSS = """
    FfnView > .panes { layout: grid; grid-size: 2 3; grid-columns: 1fr 1fr; grid-rows: 4fr 8 3fr; }
    FfnView #lens-pane { row-span: 2; }
    FfnView.tall #lens-pane { row-span: 1; }
    FfnView.tall #neurons-pane { row-span: 2; }
    FfnView.mixture > .panes { grid-rows: 4fr 8 5fr; }
    FfnView #routing-token, FfnView #routing-expert { padding: 0 1; }
    FfnView.folded > .panes { grid-rows: 1fr; }
    FfnView.folded #lens-pane, FfnView.folded #neurons-pane { row-span: 1; }
    FfnView .predictions { height: 1fr; }
    FfnView .computing { text-style: dim; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            *("x,space", "ablate", "ablate neuron"),
            key_display="x",
            tooltip="Ablate the selected neuron in the comparison run, or restore it",
        ),
        Binding(
            "m",
            "measure",
            "measure tokens",
            tooltip="Measure the promoted tokens of the 8 strongest neurons through later layers",
        ),
        Binding(
            "z",
            "ablate_all",
            "ablate FFN",
            tooltip="Ablate the FFN of the selected layer in the comparison run, or restore it",
        ),
        Binding("g", "definition", "definition", tooltip="Use the next definition of sparsity"),
        Binding("v", "side", "other run", tooltip="Show this run, the comparison run, or the difference"),
        Binding("b", "filter", "one expert", tooltip="List the neurons of the selected expert only, or of all experts"),
        Binding("s", "zoom", "zoom", tooltip="Show all neurons, or only those above 1e-4 of the largest"),
    ]

    title = "FFN"
    tabs: ClassVar[dict[str, str]] = {
        "ffn": "sparsity",
        "neurons": "neurons",
        "lens": "logit lens",
        "definitions": "definitions",
        "curve": "sorted activations",
        "routing": "routing",
    }

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._map, self._activations, self._neurons = SparsityPane(), ActivationPanes(self), NeuronPanes(self)
        self._routing = RoutingPane(self)
        self._state: ViewState | None = None
        self._of: tuple[object, ...] = (None, None)
        self._enabled = (False, False, False, False)

    @property
    def first_offered(self) -> tuple[str, ...]:
        return self._offered_of(is_mixture=False)

    def _offered_of(self, *, is_mixture: bool) -> tuple[str, ...]:
        """For a mixture of experts, routing takes the place of the sorted activations."""
        return tuple(name for name in self.tabs if name != ("curve" if is_mixture else "routing"))

    def compose_panes(self) -> Iterator[Widget]:
        yield Pane("ffn", "sparsity", SparsityMap(id="ffn"), Legend(id="ffn-legend"))
        yield Pane("neurons", "neurons", NeuronList(id="neurons"))
        yield Pane("definitions", "definitions", SparsityDefinitions(id="definitions"))
        edited = Vertical(TextLine(id="edited-title"), ChangeBars(id="edited"), classes="predictions")
        yield Pane("lens", "logit lens", ChangeBars(id="lens"), edited)
        yield Pane("curve", "sorted activations", ActivationCurve(id="curve"))
        yield routing_pane()

    def show_notice(self, notice: str) -> None:
        super().show_notice(notice)
        self._map.redraw()
        self._activations.redraw()
        self._routing.redraw()

    def make_room(self, size: Size) -> None:
        """Gives the map as many lines as it has layers, where there is space."""
        height, panes = size.height, self.query_one(".panes", Container)
        is_tall = height >= TALL and not self.is_folded
        self.set_class(is_tall, "tall")
        self._routing.make_room(is_tall)
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
        self._offer(state)
        self._map.draw(self, state)
        self._activations.draw(state, state.main)
        self._neurons.draw(state, state.main)
        self._routing.draw(state, state.main, self._map.side)
        enabled = (can_pair(state), self._runs, self._has_weights, "routing" in self.offered)
        if enabled != self._enabled:
            self._enabled = enabled
            self.refresh_bindings()

    def _offer(self, state: ViewState) -> None:
        """Shows the pane `routing` for a mixture of experts, and `curve` for other layers."""
        offered = self._offered_of(is_mixture=mixture_of(state.main, state.selection.layer) is not None)
        if offered == self.offered:
            return
        gone, come = (set(self.offered) - set(offered)).pop(), (set(offered) - set(self.offered)).pop()
        had_focus, was_shown = self.query_one(f"#{gone}").has_focus, self.pane == gone
        self.offered = offered
        self.set_class("routing" in offered, "mixture")
        if was_shown:
            self.pane = come
        if had_focus:
            self.query_one(f"#{come}").focus()

    def on_result_ready(self, message: ResultReady) -> None:
        message.stop()
        message.keep()
        if self._state is not None and self._state.main is not None and not self._notice:
            self.draw(self._state)

    def _forget_what_is_gone(self, state: ViewState) -> None:
        """Drops the results of other runs and weights."""
        was, main = self._of, state.main
        self._of = (main.trace, main.weights) if main else (None, None)
        changed = [one is not other for one, other in zip(was, self._of, strict=True)]
        if any(changed):
            self._activations.clear()
            self._neurons.clear()
            self.make_room(self.size)

    # ---- keys -------------------------------------------------------------------------------------------

    @property
    def _runs(self) -> bool:
        return self._state is not None and self._state.can_run

    @property
    def _has_weights(self) -> bool:
        return self._state is not None and self._state.main is not None and self._state.main.weights is not None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disabled where the model cannot run again, or without a comparison run."""
        if action in ("ablate", "ablate_all"):
            return True if self._runs else None
        if action == "measure":
            return True if self._runs and self._has_weights else None
        if action in ("zoom", "filter"):
            return ("curve" if action == "zoom" else "routing") in self.offered
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
            if self._state.main is not None:
                self._routing.draw(self._state, self._state.main, self._map.side)

    def action_filter(self) -> None:
        self._neurons.is_of_expert = not self._neurons.is_of_expert
        if self._state is not None and self._state.main is not None:
            self._neurons.draw(self._state, self._state.main)

    def action_zoom(self) -> None:
        curve = self.query_one(ActivationCurve)
        curve.is_zoomed = not curve.is_zoomed

    def table(self, state: ViewState) -> Table | None:
        """The neurons of the chosen token, strongest first; the experts while the pane `routing` is the current one."""
        if state.main is None:
            return None
        if self.pane == "routing":
            return self._routing.table(state, state.main)
        layer, token, pieces = state.selection.layer, state.selection.token, state.main.trace.pieces
        if state.main.lacks(layer, NEURONS):
            return None
        off, after, agreement = off_of(state, state.main), after_of(state), state.main.agreements.get((layer, token))
        among, names = self._neurons.among(state, state.main), ", ".join(state.run_edits)
        also = [one for one in state.ablated.neurons_of(layer) if among is None or one in among]
        through, falls = (agreement.promoted_tokens, agreement.falling_tokens) if agreement else ({}, {})
        rows = [
            (
                *(layer, token, pieces[token], memory.neuron, memory.coefficient),
                None if after is None else float(after[memory.neuron]),
                memory.norm,
                *(
                    " ".join(map(quote_piece, pieces))
                    for pieces in (memory.promoted_tokens, *(of.get(memory.neuron, ()) for of in (through, falls)))
                ),
                *("yes" if memory.neuron in off else "no", names),
            )
            for memory in strongest_neurons(state.main, layer, token, also, among)
        ]
        return Table(COLUMNS, rows)
