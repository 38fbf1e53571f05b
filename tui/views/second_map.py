"""The second map of the attention view: the comparison run's pattern, or the difference."""

import numpy as np
from jaxtyping import Float32
from textual.widget import Widget

from edge.picture.palettes import SIGNED
from edge.picture.units import show_number
from models.sites import layer_of
from tui.coloring import MAPPED, draw_difference, draw_pattern, margins
from tui.view_state import MeasuredRun, ViewState
from tui.widgets.attention.attention_map import AttentionMap
from tui.widgets.legend import Legend
from tui.widgets.pane import Pane

NOTHING = """\
no comparison run

d compares this run with another engine, model or prompt;
x ablates the selected head, a the attention of its layer"""


class SecondMap:
    """Draws the pane `comparison` of the attention view."""

    def __init__(self) -> None:
        self._drawn: tuple[object, ...] = ()
        self._pattern: Float32[np.ndarray, "token past"] | None = None
        self._difference: Float32[np.ndarray, "token past"] | None = None

    def draw(self, view: Widget, state: ViewState, pattern: Float32[np.ndarray, "token past"]) -> None:
        """Draws the comparison run; `pattern` is the chosen head's in the current run."""
        assert state.main is not None
        chosen, options, compared = state.selection, state.options, state.compared
        attention, legend = view.query_one("#comparison", AttentionMap), view.query_one("#comparison-legend", Legend)
        attention.notice = notice = _why_not(state.main, compared, state)
        pane = view.query_one("#comparison-pane", Pane)
        if notice or compared is None:
            self._drawn, self._pattern, self._difference = (), None, None
            pane.set_title("")
            return
        asked = (
            *(id(compared.trace), id(state.main.trace), chosen.layer, chosen.head),
            *(options.is_log, options.drops_first, state.shows_difference),
        )
        if self._drawn != asked:
            self._drawn = asked
            self._pattern = compared.trace.pattern(chosen.layer, chosen.head)
            self._difference = self._pattern - pattern if self._pattern.shape == pattern.shape else None
            signed = state.shows_difference
            picture = (
                draw_difference(pattern, self._pattern, compared.trace, chosen.layer, options)
                if signed
                else draw_pattern(self._pattern, compared.trace, chosen.layer, options)
            )
            attention.middle = 15.5 if signed else 0.0
            attention.labels, attention.levels = compared.trace.pieces, picture.levels
            attention.rows, attention.columns = margins(self._pattern)
            legend.scale = picture.scale
        signed, base = state.shows_difference, "the run without edits" if state.edits else state.main.name
        attention.palette = legend.palette = SIGNED if signed else options.palette
        last = compared.trace.n_fed - 1
        attention.cursor = min(chosen.token, last), min(chosen.key, last)
        legend.title = "difference" if signed else "weight"
        legend.note = f"{compared.name} minus {base}" if signed else ""
        less = f" minus {base}" if signed else ""
        off = " (ablated)" if compared.trace.ablated.has_head(chosen.layer, chosen.head) else ""
        pane.set_title(f"{compared.name}{less}{off}", self._largest())

    def _largest(self) -> str:
        if self._difference is None:
            return "other tokens"
        return f"largest difference {show_number(float(np.abs(self._difference).max(initial=0.0)))}"

    def read_out(self, token: int, key: int) -> str:
        """The attention weight of this cell in the comparison run, and the difference."""
        if self._pattern is None or token >= len(self._pattern):
            return ""
        value = f"comparison {show_number(float(self._pattern[token, key]))}"
        if self._difference is None:
            return value
        difference = float(self._difference[token, key])
        return f"{value}, {'+' if difference >= 0 else '−'}{show_number(abs(difference))}"


def _why_not(main: MeasuredRun, compared: MeasuredRun | None, state: ViewState) -> str:
    """Why there is no second map; empty where there is one."""
    if compared is None:
        return f"running with {state.edits_title} …" if state.edits else NOTHING
    chosen, spec = state.selection, compared.trace.spec
    if chosen.layer >= spec.n_layers or chosen.head >= spec.n_heads:
        return f"{compared.name} has no head {chosen.head} in a layer {chosen.layer}"
    if missing := compared.lacks(chosen.layer, *MAPPED):
        return f"{compared.name}: {missing}"
    if state.shows_difference and compared.trace.n_fed != main.trace.n_fed:
        return "a difference needs two runs of the same length\n\nv shows them side by side"
    return _why_equal(compared, state) if state.edits else ""


def _why_equal(compared: MeasuredRun, state: ViewState) -> str:
    """Why no edit can change the chosen pattern: attention weights are computed before an edit of their layer acts."""
    chosen, applied = state.selection, state.edits if state.alone is None else (state.alone,)
    lowest = min(layer_of(edit.site) or 0 for edit in applied)
    if chosen.layer > lowest:
        return ""
    name = f"head {chosen.layer}.{chosen.head}"
    if compared.trace.ablated.has_head(chosen.layer, chosen.head):
        what = f"{name} is ablated: its output is 0, its pattern is unchanged"
    else:
        what = f"the pattern of {name} is the same with {state.edits_title}"
    return f"{what}\n\npatterns above layer {lowest} can change: k shows the next layer"
