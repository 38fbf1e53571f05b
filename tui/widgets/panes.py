"""The five panes beside each other, or one at a time where there is no room: attributes in, pictures out."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from textual.containers import Container
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from edge.measure.attention import entropy_bits, first_token_share, visible_keys
from edge.measure.overview import Overview
from edge.picture.pieces import quote_piece
from edge.picture.units import show_number, show_share
from edge.timing import SublayerTiming
from edge.trace import Trace
from models.errors import EdgeError
from models.spec import Gated, Plain
from tui.state import Options, PatternPicture, Selection, draw_pattern, draw_scores, share_scale
from tui.widgets.attention_map import AttentionMap
from tui.widgets.grid import Grid
from tui.widgets.head_grid import HeadGrid
from tui.widgets.latency_bars import LatencyBars, sum_up
from tui.widgets.legend import Legend
from tui.widgets.pane import Pane
from tui.widgets.sparsity_map import SparsityMap
from tui.widgets.top_keys import TopKeys

TABS = {"map": "attention", "heads": "heads", "reads": "reads", "ffn": "FFN", "time": "latency"}
"""The panes by name, with what their tabs say, in the order of the tab key."""


@dataclass(frozen=True)
class Sight:
    """Everything the panes show."""

    trace: Trace
    overview: Overview
    timing: SublayerTiming | None
    selection: Selection
    options: Options


class Panes(Container):
    """Shows a `Sight`; draws anew only what changed.

    Attributes:
        shown: The pane that shows where only one has room.
    """

    shown: reactive[str] = reactive("map")

    def __init__(self) -> None:
        super().__init__(id="panes")
        self._drawn: tuple[object, ...] = ()
        self._pattern: Float32[np.ndarray, "token past"] = np.zeros((0, 0), np.float32)
        self._picture: PatternPicture | None = None
        self._sight: Sight | None = None

    def compose(self) -> Iterator[Widget]:
        yield Pane("map", TABS["map"], AttentionMap(id="map"), Static(id="readout"), Legend(id="map-legend"))
        yield Pane("heads", TABS["heads"], HeadGrid(id="heads"), Legend(id="heads-legend"))
        yield Pane("reads", TABS["reads"], TopKeys(id="reads"))
        yield Pane("ffn", TABS["ffn"], SparsityMap(id="ffn"), Legend(id="ffn-legend"))
        yield Pane("time", TABS["time"], LatencyBars(id="time"), Static(id="time-sum"))

    def watch_shown(self, shown: str) -> None:
        for name in TABS:
            self.query_one(f"#{name}-pane").set_class(name == shown, "shown")

    def explain(self, notices: dict[str, str]) -> None:
        """Says in each pane what to do, or what is awaited, instead of a picture."""
        for name, notice in notices.items():
            self.query_one(f"#{name}", Grid).notice = notice

    def forget(self) -> None:
        """Lets go of the last trace."""
        self._sight = self._picture = None
        self._drawn = ()
        for name in TABS:
            self.query_one(f"#{name}-pane", Pane).entitle("")
        for legend in self.query(Legend):
            legend.scale = None
        self.query_one("#readout", Static).update("")
        self.query_one("#time-sum", Static).update("")

    def show(self, sight: Sight) -> None:
        """Draws a sight."""
        self._sight = sight
        with self.app.batch_update():
            self._show_palette(sight)
            self._show_map(sight)
            self._show_heads(sight)
            self._show_ffn(sight)
            self._show_time(sight)

    def row_levels(self) -> np.ndarray:
        """Colour levels of the chosen token's row, up to itself; empty where there is no map."""
        if self._picture is None or self._sight is None:
            return np.zeros(0, np.uint8)
        token = self._sight.selection.token
        return self._picture.levels[token, : token + 1]

    def read_out(self, cell: tuple[int, int] | None = None) -> None:
        """Says the number under the mouse, or under the cursor."""
        if self._sight is None or self._picture is None:
            return
        chosen = self._sight.selection
        token, key = cell or (chosen.token, chosen.key)
        trace = self._sight.trace
        words = f"from {quote_piece(trace.pieces[token])} ({token}) to {quote_piece(trace.pieces[key])} ({key})"
        seen = visible_keys(trace.n_fed, trace.n_fed, trace.spec.layers[chosen.layer].reach)[token, key]
        value = show_number(float(self._pattern[token, key])) if seen else "out of reach"
        mark = "▸" if cell is None else "mouse"
        self.query_one("#readout", Static).update(
            Content.assemble((f" {mark} ", "$text-muted"), words, "  ", (value, "bold $accent"))
        )

    def _show_palette(self, sight: Sight) -> None:
        for grid in self.query(Grid):
            grid.palette = sight.options.palette
        for legend in self.query(Legend):
            legend.palette = sight.options.palette

    def _show_map(self, sight: Sight) -> None:
        chosen, options, trace = sight.selection, sight.options, sight.trace
        attention, reads = self.query_one("#map", AttentionMap), self.query_one("#reads", TopKeys)
        pane, legend = self.query_one("#map-pane", Pane), self.query_one("#map-legend", Legend)
        asked = (id(trace), chosen.layer, chosen.head, options.is_log, options.drops_first)
        if self._drawn != asked:
            try:
                self._pattern = trace.pattern(chosen.layer, chosen.head)
            except EdgeError as error:
                self.explain({"map": str(error), "reads": ""})
                return
            self._picture = draw_pattern(self._pattern, trace, chosen.layer, options)
            attention.labels = reads.labels = trace.pieces
            attention.levels = self._picture.levels
            self._drawn = asked
        attention.cursor = chosen.token, chosen.key
        reads.weights = self._pattern[chosen.token, : chosen.token + 1]
        reads.chosen = chosen.token, chosen.key
        row = self._pattern[chosen.token : chosen.token + 1]
        bits, first = float(entropy_bits(row)[0]), float(first_token_share(row)[0])
        reader = quote_piece(trace.pieces[chosen.token])
        numbers = f"{reader} entropy {show_number(bits)} bits · first token {show_share(first)}"
        pane.entitle(f"layer {chosen.layer} head {chosen.head}", numbers)
        self.query_one("#reads-pane", Pane).entitle(f"what {reader} reads, layer {chosen.layer} head {chosen.head}")
        legend.title, legend.scale = "weight", self._picture.scale if self._picture else None
        legend.note = "first token left out" if options.drops_first else "blank: out of reach"
        self.read_out()

    def _show_heads(self, sight: Sight) -> None:
        picture, chosen = draw_scores(sight.overview, sight.options), sight.selection
        heads, legend = self.query_one("#heads", HeadGrid), self.query_one("#heads-legend", Legend)
        if heads.scores is not picture.scores:
            heads.scores, heads.scale = picture.scores, picture.scale
        heads.chosen = chosen.layer, chosen.head
        legend.title, legend.scale, legend.note = picture.title, picture.scale, "mean over tokens"
        score = float(picture.scores[chosen.layer, chosen.head])
        number = "" if np.isnan(score) else f" · {show_number(score)}"
        self.query_one("#heads-pane", Pane).entitle(f"layer {chosen.layer} head {chosen.head}{number}")

    def _show_ffn(self, sight: Sight) -> None:
        chosen, trace = sight.selection, sight.trace
        ffn, legend = self.query_one("#ffn", SparsityMap), self.query_one("#ffn-legend", Legend)
        shares = sight.overview.top_p if sight.options.shows_top_p else sight.overview.exact_zero
        if ffn.shares is not shares:
            ffn.scale, ffn.shares = share_scale(shares), shares
        ffn.labels = trace.pieces
        ffn.chosen = chosen.layer, chosen.token
        name = "top-p 0.9" if sight.options.shows_top_p else "exactly zero"
        layer = trace.spec.layers[chosen.layer].ffn
        kind = {Plain: "plain", Gated: "gated"}[type(layer)]
        self.query_one("#ffn-pane", Pane).entitle(f"silent share of {layer.d_ff} neurons, {name}")
        legend.title, legend.scale = f"silent, {name}", ffn.scale
        legend.note = f"{kind} {layer.activation.value} · 1 = all silent"

    def _show_time(self, sight: Sight) -> None:
        bars = self.query_one("#time", LatencyBars)
        bars.n_layers, bars.chosen = sight.trace.spec.n_layers, sight.selection.layer
        bars.timing = sight.timing
        lines = sum_up(sight.timing) if sight.timing else []
        self.query_one("#time-sum", Static).update(Content("\n".join(f" {line}" for line in lines)))
        title = f"{sight.timing.engine}, one decode step" if sight.timing else ""
        self.query_one("#time-pane", Pane).entitle(title)
