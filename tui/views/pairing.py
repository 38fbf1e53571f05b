"""The second map of the attention view: the other run's pattern, or how it differs."""

import numpy as np
from jaxtyping import Float32
from textual.widget import Widget

from edge.picture.palettes import SIGNED
from edge.picture.units import show_number
from tui.pictures import MAPPED, draw_difference, draw_pattern, margins
from tui.sight import Shown, Sight
from tui.widgets.attention_map import AttentionMap
from tui.widgets.legend import Legend
from tui.widgets.pane import Pane

NOTHING = """\
nothing runs beside this run

d compares it with another engine, model or prompt;
x switches the chosen head off"""


class SecondMap:
    """Draws the pane `other` of an attention view."""

    def __init__(self) -> None:
        self._drawn: tuple[object, ...] = ()
        self._pattern: Float32[np.ndarray, "token past"] | None = None
        self._apart: Float32[np.ndarray, "token past"] | None = None

    def draw(self, view: Widget, sight: Sight, pattern: Float32[np.ndarray, "token past"]) -> None:
        """Draws the run beside `sight.main`, whose chosen head has `pattern`."""
        assert sight.main is not None
        chosen, options, beside = sight.selection, sight.options, sight.beside
        attention, legend = view.query_one("#other", AttentionMap), view.query_one("#other-legend", Legend)
        attention.notice = notice = _why_not(sight.main, beside, sight)
        pane = view.query_one("#other-pane", Pane)
        if notice or beside is None:
            self._drawn, self._pattern, self._apart = (), None, None
            pane.entitle("")
            return
        asked = (
            *(id(beside.trace), id(sight.main.trace), chosen.layer, chosen.head),
            *(options.is_log, options.drops_first, options.shows_difference),
        )
        if self._drawn != asked:
            self._drawn = asked
            self._pattern = beside.trace.pattern(chosen.layer, chosen.head)
            self._apart = self._pattern - pattern if self._pattern.shape == pattern.shape else None
            signed = options.shows_difference
            picture = (
                draw_difference(pattern, self._pattern, beside.trace, chosen.layer, options)
                if signed
                else draw_pattern(self._pattern, beside.trace, chosen.layer, options)
            )
            attention.middle = 15.5 if signed else 0.0
            attention.labels, attention.levels = beside.trace.pieces, picture.levels
            attention.rows, attention.columns = margins(self._pattern)
            legend.scale = picture.scale
        attention.palette = legend.palette = SIGNED if options.shows_difference else options.palette
        last = beside.trace.n_fed - 1
        attention.cursor = min(chosen.token, last), min(chosen.key, last)
        legend.title = "difference" if options.shows_difference else "weight"
        legend.note = f"{beside.name} less {sight.main.name}" if options.shows_difference else ""
        pane.entitle(f"{beside.name}{' less ' + sight.main.name if options.shows_difference else ''}", self._largest())

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


def _why_not(main: Shown, beside: Shown | None, sight: Sight) -> str:
    """Why there is no second map, in words; empty where there is one."""
    if beside is None:
        return NOTHING
    chosen, spec = sight.selection, beside.trace.spec
    if chosen.layer >= spec.n_layers or chosen.head >= spec.n_heads:
        return f"{beside.name} has no head {chosen.head} in a layer {chosen.layer}"
    if missing := beside.lacks(chosen.layer, *MAPPED):
        return f"{beside.name}: {missing}"
    if sight.options.shows_difference and beside.trace.n_fed != main.trace.n_fed:
        return "a difference needs as many tokens in both runs\n\nv shows them side by side"
    return ""
