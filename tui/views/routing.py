"""The routing pane of the FFN view: weights and load of the experts of the chosen layer."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from textual.widget import Widget

from edge.edits import ChooseExpert
from edge.measure.routing import (
    balance,
    largest_weights,
    load,
    load_entropy_bits,
    router_entropy_bits,
    router_shares,
)
from edge.picture.levels import Linear
from edge.picture.palettes import SIGNED
from edge.picture.pieces import quote_piece
from edge.picture.units import show_number
from edge.tables import Column, Table
from edge.trace import Trace
from models.sites import CHOSEN, ROUTER, SCORES, layer_site
from models.spec import MoE
from tui.messages import ExpertChosen
from tui.view_state import MeasuredRun, ViewState
from tui.views.mixture import mixture_of
from tui.views.sparsity import SIDES
from tui.widgets.ffn.routing_map import Routing, RoutingMap
from tui.widgets.legend import Legend
from tui.widgets.pane import Pane
from tui.widgets.text_line import TextLine

LARGEST = 24
"""Most tokens of the chosen expert."""

_FRAME = 2
"""Lines of the map besides its experts: the ruler and a scrollbar."""

COLUMNS = (
    Column("layer", "layer"),
    Column("expert", "expert"),
    Column("load", "load", ".4g"),
    Column("token", "token"),
    Column("piece", "piece"),
    Column("router_weight", "router weight", ".4g"),
    Column("largest_weights", "tokens with the largest weights"),
    Column("edits", "edits"),
)
"""Columns of the table of experts."""


@dataclass(frozen=True, eq=False)
class ReadRouting:
    """The routing of one layer of a run.

    Attributes:
        given: The weight of every expert; 0 where it is not chosen.
        shares: The router's distribution, before the choice.
    """

    kind: MoE
    chosen: np.ndarray
    given: Float32[np.ndarray, "token expert"]
    shares: Float32[np.ndarray, "token expert"]
    load: Float32[np.ndarray, " expert"]

    @property
    def shown(self) -> Routing:
        """Weights, choices and load for the map."""
        is_chosen = np.zeros(self.given.shape, np.bool_)
        np.put_along_axis(is_chosen, self.chosen, True, axis=1)
        return Routing(np.ascontiguousarray(self.given.T), np.ascontiguousarray(is_chosen.T), self.load)


def read_routing(trace: Trace, layer: int, kind: MoE) -> ReadRouting:
    """Reads the recorded routing of a layer."""
    chosen = trace.site(layer_site(layer, CHOSEN)).astype(np.int64)
    shares = router_shares(trace.site(layer_site(layer, SCORES)), kind.router)
    return ReadRouting(kind, chosen, trace.site(layer_site(layer, ROUTER)), shares, load(chosen, kind.n_experts))


def routing_pane() -> Pane:
    """The map, its legend, the chosen token, and the chosen expert."""
    lines = TextLine(id="routing-token"), TextLine(id="routing-expert")
    return Pane("routing", "routing", RoutingMap(id="routing"), Legend(id="routing-legend"), *lines)


class RoutingPane:
    """Draws the pane `routing`."""

    def __init__(self, view: Widget) -> None:
        self._view = view
        self._read: list[tuple[Trace, int, ReadRouting]] = []
        self._drawn: tuple[object, ...] = ()
        self._given: tuple[object, int] | None = None

    def make_room(self, is_tall: bool) -> None:
        """Gives the tokens of the chosen expert the lines that the map does not need."""
        line = self._view.query_one("#routing-expert", TextLine)
        line.set_class(not is_tall, "single")
        line.styles.height = "1fr" if is_tall else 1
        self._view.query_one(RoutingMap).styles.height = "4fr" if is_tall else "1fr"

    def redraw(self) -> None:
        """Draws everything at the next opportunity."""
        self._drawn = ()

    def draw(self, state: ViewState, main: MeasuredRun, side: str) -> None:
        """Draws a side of `tui.views.sparsity.SIDES`; nothing where the FFN of the layer is dense."""
        layer, kind = state.selection.layer, mixture_of(main, state.selection.layer)
        if kind is None:
            return
        compared = state.compared if mixture_of(state.compared, layer) == kind and side != SIDES[0] else None
        is_difference = compared is not None and side == "difference"
        shown = main if compared is None else compared
        grid, legend = self._view.query_one(RoutingMap), self._view.query_one("#routing-legend", Legend)
        grid.of_layer, grid.can_edit = layer, state.can_run
        grid.chosen = (state.selection.expert, state.selection.token)
        grid.marks = dict(_marks(state, shown, layer, kind.n_experts))
        grid.palette = legend.palette = SIGNED if is_difference else state.options.palette
        grid.notice = _why_not(main, shown, layer, is_difference)
        title = f"layer {layer}, {kind.top_k} of {kind.n_experts} experts per token{_suffix(state, compared, side)}"
        pane = self._view.query_one("#routing-pane", Pane)
        if grid.notice:
            legend.scale, self._drawn = None, ()
            self._say("", "")
            pane.set_title(title)
            return
        found = self._find(shown.trace, layer, kind)
        own = self._find(main.trace, layer, kind)
        drawn = (own, found, is_difference)
        if len(self._drawn) != 3 or any(a is not b for a, b in zip(drawn, self._drawn, strict=True)):
            self._drawn, grid.labels = drawn, shown.trace.pieces
            _paint(grid, legend, own, found, is_difference)
        pane.set_title(title, _note(found))
        self._say(*_words(state, shown, found))
        self._choose_strongest(state, main, own)

    def _say(self, expert: str, token: str) -> None:
        self._view.query_one("#routing-expert", TextLine).show_text(expert)
        self._view.query_one("#routing-token", TextLine).show_text(token)

    def _find(self, trace: Trace, layer: int, kind: MoE) -> ReadRouting:
        """Reads a layer of a run, and keeps the last two: of the current run and of the comparison run."""
        for of, at, read in self._read:
            if of is trace and at == layer:
                return read
        found = read_routing(trace, layer, kind)
        self._read = [*self._read[-1:], (trace, layer, found)]
        return found

    def _choose_strongest(self, state: ViewState, main: MeasuredRun, own: ReadRouting) -> None:
        """Chooses the expert with the largest weight, once for each layer of a run."""
        chosen = state.selection
        if self._given is not None and self._given[0] is main.trace and self._given[1] == chosen.layer:
            return
        self._given = (main.trace, chosen.layer)
        strongest = int(own.given[min(chosen.token, len(own.given) - 1)].argmax())
        if strongest != chosen.expert:
            self._view.post_message(ExpertChosen(strongest))

    def table(self, state: ViewState, main: MeasuredRun) -> Table | None:
        """Load of every expert of the chosen layer, and its weight at the chosen token."""
        layer, token, kind = state.selection.layer, state.selection.token, mixture_of(main, state.selection.layer)
        if kind is None or _why_not(main, main, layer, False):
            return None
        found, pieces = self._find(main.trace, layer, kind), main.trace.pieces
        rows = [
            (
                *(layer, expert, float(found.load[expert]), token, pieces[token], float(found.given[token, expert])),
                " ".join(quote_piece(pieces[one]) for one in largest_weights(found.given, expert, LARGEST)),
                ", ".join(main.trace.edits),
            )
            for expert in range(kind.n_experts)
        ]
        return Table(COLUMNS, rows)


def _why_not(main: MeasuredRun, shown: MeasuredRun, layer: int, is_difference: bool) -> str:
    """Why there is no map; empty where there is one."""
    if missing := shown.lacks(layer, SCORES, ROUTER, CHOSEN) or main.lacks(layer, SCORES, ROUTER, CHOSEN):
        return missing
    if is_difference and main.trace.n_fed != shown.trace.n_fed:
        return "a difference needs two runs of the same length\n\nv shows one run at a time"
    return ""


def _suffix(state: ViewState, compared: MeasuredRun | None, side: str) -> str:
    """Which run the pane shows."""
    if compared is None:
        return state.without
    minus = f" minus {state.base_title}" if side == "difference" else ""
    return f", {compared.name}{minus}"


def _marks(state: ViewState, shown: MeasuredRun, layer: int, n_experts: int) -> Iterator[tuple[int, str]]:
    """Signs of the experts that edits act on."""
    names = {*map(str, state.edits), *shown.trace.edits}
    off = state.ablated.experts_of(layer)
    for expert in range(n_experts):
        sign = "×" if expert in off else ""
        sign += "+" if str(ChooseExpert(layer, expert)) in names else ""
        sign += "−" if str(ChooseExpert(layer, expert, bonus=-1.0)) in names else ""
        if sign:
            yield expert, sign


def _paint(grid: RoutingMap, legend: Legend, own: ReadRouting, found: ReadRouting, is_difference: bool) -> None:
    """Colors the map; one run and another share a scale."""
    shown = found.shown
    if is_difference:
        before = own.shown
        chosen, by = before.chosen | shown.chosen, shown.load - before.load
        shown = Routing(shown.weights - before.weights, chosen, by, is_difference=True)
        largest = max(float(np.abs(shown.weights).max(initial=0.0)), 1e-3)
        scale = Linear(-largest, largest)
    else:
        largest = max(float(of.given.max(initial=0.0)) for of in (own, found))
        scale = Linear(0.0, max(np.ceil(largest * 10) / 10 if largest > 0.1 else largest, 1e-3))
    grid.scale, grid.routing = scale, shown
    grid.styles.max_height = found.kind.n_experts + _FRAME
    legend.title, legend.scale = f"router weight{', difference' if is_difference else ''}", scale
    legend.note = "· not chosen"


def _note(found: ReadRouting) -> str:
    """Entropy and balance of the load."""
    bits, most = load_entropy_bits(found.load), np.log2(found.kind.n_experts)
    even = balance(found.load, found.shares)
    return f"load entropy {show_number(bits)} of {show_number(most)} bits, balance {show_number(even)} (even: 1)"


def _words(state: ViewState, shown: MeasuredRun, found: ReadRouting) -> tuple[str, str]:
    """The tokens that give the chosen expert the largest weights; and the experts of the chosen token."""
    layer, expert, token = state.selection.layer, state.selection.expert, state.selection.token
    pieces = shown.trace.pieces
    tokens = largest_weights(found.given, expert, LARGEST)
    listed = ", ".join(f"{quote_piece(pieces[one])} {show_number(float(found.given[one, expert]))}" for one in tokens)
    why = (
        "is ablated: its weight is 0 at every token"
        if (layer, expert) in shown.trace.ablated.experts
        else "is chosen at no token"
    )
    of_expert = f"expert {expert}{f': largest weights from {listed}' if listed else f' {why}'}"
    if token >= len(found.given):
        return of_expert, ""
    bits, most = float(router_entropy_bits(found.shares[token : token + 1])[0]), np.log2(found.kind.n_experts)
    order = sorted(found.chosen[token], key=lambda one: -float(found.given[token, one]))
    experts = ", ".join(f"expert {one} {show_number(float(found.given[token, one]))}" for one in order)
    entropy = f"router entropy {show_number(bits)} of {show_number(most)} bits"
    return of_expert, f"{shown.quote(token)}: {entropy}; {experts}"
