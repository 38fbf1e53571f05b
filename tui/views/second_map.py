"""The second map of the attention view: the other run's pattern, or how it differs."""

import numpy as np
from jaxtyping import Float32
from textual.widget import Widget

from edge.picture.palettes import SIGNED
from edge.picture.units import show_number
from models.sites import layer_of
from tui.pictures import MAPPED, draw_difference, draw_pattern, margins
from tui.view_state import Shown, ViewState
from tui.widgets.attention_map import AttentionMap
from tui.widgets.legend import Legend
from tui.widgets.pane import Pane

NOTHING = """\
nothing runs beside this run

d compares it with another engine, model or prompt;
x ablates the chosen head, a the attention of its layer"""


class SecondMap:
    """Draws the pane `other` of an attention view."""

    def __init__(self) -> None:
        self._drawn: tuple[object, ...] = ()
        self._pattern: Float32[np.ndarray, "token past"] | None = None
        self._apart: Float32[np.ndarray, "token past"] | None = None

    def draw(self, view: Widget, state: ViewState, pattern: Float32[np.ndarray, "token past"]) -> None:
        """Draws the run beside `state.main`, whose chosen head has `pattern`."""
        assert state.main is not None
        chosen, options, beside = state.selection, state.options, state.beside
        attention, legend = view.query_one("#other", AttentionMap), view.query_one("#other-legend", Legend)
        attention.notice = notice = _why_not(state.main, beside, state)
        pane = view.query_one("#other-pane", Pane)
        if notice or beside is None:
            self._drawn, self._pattern, self._apart = (), None, None
            pane.entitle("")
            return
        asked = (
            *(id(beside.trace), id(state.main.trace), chosen.layer, chosen.head),
            *(options.is_log, options.drops_first, state.shows_difference),
        )
        if self._drawn != asked:
            self._drawn = asked
            self._pattern = beside.trace.pattern(chosen.layer, chosen.head)
            self._apart = self._pattern - pattern if self._pattern.shape == pattern.shape else None
            signed = state.shows_difference
            picture = (
                draw_difference(pattern, self._pattern, beside.trace, chosen.layer, options)
                if signed
                else draw_pattern(self._pattern, beside.trace, chosen.layer, options)
            )
            attention.middle = 15.5 if signed else 0.0
            attention.labels, attention.levels = beside.trace.pieces, picture.levels
            attention.rows, attention.columns = margins(self._pattern)
            legend.scale = picture.scale
        signed, base = state.shows_difference, "no edit" if state.edits else state.main.name
        attention.palette = legend.palette = SIGNED if signed else options.palette
        last = beside.trace.n_fed - 1
        attention.cursor = min(chosen.token, last), min(chosen.key, last)
        legend.title = "difference" if signed else "weight"
        legend.note = f"{beside.name} less {base}" if signed else ""
        less = f" less {base}" if signed else ""
        off = " · ablated" if beside.trace.ablated.has_head(chosen.layer, chosen.head) else ""
        pane.entitle(f"{beside.name}{less}{off}", self._largest())

    def _largest(self) -> str:
        if self._apart is None:
            return "other tokens"
        return f"largest difference {show_number(float(np.abs(self._apart).max(initial=0.0)))}"

    def read_out(self, token: int, key: int) -> str:
        """What the other run weighs this cell with, and how far that is."""
        if self._pattern is None or token >= len(self._pattern):
            return ""
        value = f"beside {show_number(float(self._pattern[token, key]))}"
        if self._apart is None:
            return value
        apart = float(self._apart[token, key])
        return f"{value}, {'+' if apart >= 0 else '−'}{show_number(abs(apart))}"


def _why_not(main: Shown, beside: Shown | None, state: ViewState) -> str:
    """Why there is no second map, in words; empty where there is one."""
    if beside is None:
        return f"running with {state.whose} …" if state.edits else NOTHING
    chosen, spec = state.selection, beside.trace.spec
    if chosen.layer >= spec.n_layers or chosen.head >= spec.n_heads:
        return f"{beside.name} has no head {chosen.head} in a layer {chosen.layer}"
    if missing := beside.lacks(chosen.layer, *MAPPED):
        return f"{beside.name}: {missing}"
    if state.shows_difference and beside.trace.n_fed != main.trace.n_fed:
        return "a difference needs as many tokens in both runs\n\nv shows them side by side"
    return _why_equal(beside, state) if state.edits else ""


def _why_equal(beside: Shown, state: ViewState) -> str:
    """Why no edit can change the chosen map: weights are computed before an edit of their own layer acts."""
    chosen, acting = state.selection, state.edits if state.alone is None else (state.alone,)
    lowest = min(layer_of(edit.site) or 0 for edit in acting)
    if chosen.layer > lowest:
        return ""
    name = f"head {chosen.layer}.{chosen.head}"
    if beside.trace.ablated.has_head(chosen.layer, chosen.head):
        what = f"{name} is ablated: what it writes is 0, what it attends to stays"
    else:
        what = f"the map of {name} is the same with {state.whose}"
    return f"{what}\n\nmaps above layer {lowest} can change: k shows the layer above"
