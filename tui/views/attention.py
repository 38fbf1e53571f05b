"""Attention: the pattern of one head, its comparison, a score of every head, and the weights of one query."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float32
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from edge.attention_pattern import visible_keys
from edge.edits import Ablate, ScaleHead
from edge.insight.ov_circuit import OvReading, read_ov_circuit
from edge.measure.attention import entropy_bits, first_token_share, mean_distance
from edge.picture.pieces import quote_piece
from edge.picture.units import show_number, show_share
from edge.tables import Table
from models.sites import VALUE
from tui.coloring import MAPPED, draw_pattern, margins, received, score_scale
from tui.messages import CellPointed, EditToggled, OptionsChosen
from tui.options import SCORES, after
from tui.result_cache import ResultCache, ResultReady
from tui.view_state import MeasuredRun, ViewState
from tui.views.attention_table import pattern_table
from tui.views.prediction_change import PredictionChange, prediction_pane
from tui.views.second_map import SecondMap
from tui.views.view import View
from tui.widgets.attention.attention_map import AttentionMap
from tui.widgets.attention.head_grid import HeadGrid
from tui.widgets.attention.top_keys import TopKeys
from tui.widgets.legend import Legend
from tui.widgets.pane import Pane
from tui.widgets.text_line import TextLine

WIDE = 150
"""Columns from which two maps and the lists are shown side by side."""

NO_WEIGHTS = "a saved trace has no weights; open its model with o"


class AttentionView(View):
    """Shows one head's pattern in the current run and in the comparison run."""

    DEFAULT_CSS = """
    AttentionView {
        & > .panes { layout: grid; grid-size: 2 3; grid-columns: 11fr 9fr; grid-rows: auto 1fr 1fr; }
        #map-pane, #comparison-pane { row-span: 3; }
        #comparison-pane, #prediction-pane { display: none; }
        &.edited #prediction-pane { display: block; }
        &.edited #received-pane, &.edited.narrow #attended-pane { display: none; }
        #heads-pane { height: auto; }
        #heads { height: auto; max-height: 18; }
        &.paired #comparison-pane { display: block; }
        &.paired.narrow #received-pane { display: none; }
        &.paired.narrow > .panes { grid-size: 2 2; grid-columns: 1fr 1fr; grid-rows: 3fr 2fr; }
        &.paired.narrow #map-pane, &.paired.narrow #comparison-pane { row-span: 1; }
        &.paired.narrow #heads-pane { height: 1fr; }
        &.paired.spacious > .panes { grid-size: 3 3; grid-columns: 5fr 5fr 4fr; }
        &.folded > .panes { grid-size: 1 1; grid-columns: 1fr; grid-rows: 1fr; }
        &.folded #heads-pane { height: 1fr; }
        &.folded #heads { height: 1fr; max-height: 100%; }
        &.folded Pane { display: none; row-span: 1; }
        &.folded Pane.shown, &.folded #comparison-pane.shown, &.folded #prediction-pane.shown { display: block; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "log", "log", tooltip="Attention weights on a log or a linear scale"),
        Binding("f", "first", "drop first", tooltip="Hide the first token's column, or show it"),
        Binding("g", "score", "score", tooltip="Color heads by the next score"),
        Binding("z", "zoom", "zoom", tooltip="Show the whole pattern, or one pixel per cell"),
        Binding("v", "pairing", "difference", tooltip="Show the comparison run's pattern, or the difference"),
        Binding("x", "ablate", "ablate head", tooltip="Ablate the selected head in the comparison run, or restore it"),
        Binding(
            "a",
            "ablate_all",
            "ablate attention",
            tooltip="Ablate the layer's attention in the comparison run, or restore it",
        ),
    ]

    title = "Attention"
    roomy = (100, 24)
    tabs: ClassVar[dict[str, str]] = {
        "map": "pattern",
        "comparison": "comparison",
        "heads": "heads",
        "attended": "attends to",
        "received": "received",
        "prediction": "prediction",
    }

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._state: ViewState | None = None
        self._drawn: tuple[object, ...] = ()
        self._pattern: Float32[np.ndarray, "token past"] = np.zeros((0, 0), np.float32)
        self._second = SecondMap()
        self._copied: ResultCache[OvReading] = ResultCache("copied", self)
        self._change = PredictionChange(self, "change, attention")

    def compose_panes(self) -> Iterator[Widget]:
        numbers = TextLine(id="readout")
        yield Pane("map", "pattern", AttentionMap("entropy", id="map"), numbers, Legend(id="map-legend"))
        other = TextLine(id="comparison-readout")
        yield Pane(
            "comparison", "comparison", AttentionMap("entropy", id="comparison"), other, Legend(id="comparison-legend")
        )
        yield Pane("heads", "heads", HeadGrid(id="heads"), Legend(id="heads-legend"))
        yield Pane("attended", "attends to", TopKeys(id="attended"), TextLine(3, id="copies"))
        yield Pane("received", "received", TopKeys(id="received"))
        yield prediction_pane()

    # ---- drawing ----------------------------------------------------------------------------------------

    def draw(self, state: ViewState) -> None:
        self._state = state
        assert state.main is not None
        self._place(state)
        self._draw_heads(state, state.main)
        self._change.fill(self, state, state.main)
        if self._draw_map(state, state.main):
            self._draw_lists(state, state.main)
            self._second.draw(self, state, self._pattern)
            self.read_out(None)
            self._draw_copied(state, state.main)

    def _place(self, state: ViewState) -> None:
        unfolded = not self.is_folded
        self.set_class(unfolded and (state.compared is not None or bool(state.edits)), "paired")
        self.set_class(unfolded and bool(state.edits), "edited")
        self.set_class(unfolded and self.size.width < WIDE, "narrow")
        self.set_class(unfolded and self.size.width >= WIDE, "spacious")

    def _draw_map(self, state: ViewState, main: MeasuredRun) -> bool:
        """The large map; False if its queries and keys were not recorded."""
        chosen, options, trace = state.selection, state.options, main.trace
        attention, legend = self.query_one("#map", AttentionMap), self.query_one("#map-legend", Legend)
        missing = main.lacks(chosen.layer, *MAPPED)
        for name in ("map", "attended", "received"):
            self.query_one(f"#{name}", AttentionMap if name == "map" else TopKeys).notice = missing
        if missing:
            return False
        asked = (id(trace), chosen.layer, chosen.head, options.is_log, options.drops_first)
        if self._drawn != asked:
            if self._drawn[:1] != asked[:1]:
                self._copied.clear()
            self._pattern, self._drawn = trace.pattern(chosen.layer, chosen.head), asked
            picture = draw_pattern(self._pattern, trace, chosen.layer, options)
            attention.labels, attention.levels = trace.pieces, picture.levels
            attention.rows, attention.columns = margins(self._pattern)
            legend.scale = picture.scale
        attention.cursor = chosen.token, chosen.key
        legend.title = "weight"
        legend.note = "first token hidden" if options.drops_first else "blank: masked"
        off = " (ablated)" if state.ablated.has_head(chosen.layer, chosen.head) else ""
        of = "without edits" if state.edits else main.name
        title = f"layer {chosen.layer} head {chosen.head}{off} · {of}"
        self.query_one("#map-pane", Pane).set_title(title, self._row_numbers(main, chosen.token))
        return True

    def _row_numbers(self, main: MeasuredRun, token: int) -> str:
        row = self._pattern[token : token + 1]
        bits, first = float(entropy_bits(row)[0]), float(first_token_share(row)[0])
        far = float(mean_distance(self._pattern)[token])
        query = quote_piece(main.trace.pieces[token])
        shares = f"{show_number(bits)} bits · first token {show_share(first)}"
        return f"{query}: {shares} · distance {show_number(far)}"

    def _draw_heads(self, state: ViewState, main: MeasuredRun) -> None:
        chosen, score = state.selection, state.options.score
        scores = getattr(main.overview.heads, score.field)
        heads, legend = self.query_one("#heads", HeadGrid), self.query_one("#heads-legend", Legend)
        if heads.scores is not scores:
            heads.scores, heads.scale = scores, score_scale(scores, score.top)
        heads.chosen = chosen.layer, chosen.head
        n_heads, off = main.trace.spec.n_heads, state.ablated
        layers = range(main.trace.spec.n_layers)
        heads.ablated = frozenset((layer, head) for layer in layers for head in off.heads_of(layer, n_heads))
        legend.title, legend.scale = score.title, heads.scale
        legend.note = (
            "× ablated · mean over queries, first left out" if heads.ablated else "mean over queries, first left out"
        )
        if np.isnan(scores).all():
            legend.note = f"no {score.title}: {score.none}" if score.none else legend.note
        value = float(scores[chosen.layer, chosen.head])
        number = "" if np.isnan(value) else f" · {show_number(value)}"
        self.query_one("#heads-pane", Pane).set_title(f"{score.title}{number}")

    def _draw_lists(self, state: ViewState, main: MeasuredRun) -> None:
        chosen, trace = state.selection, main.trace
        attended, got = self.query_one("#attended", TopKeys), self.query_one("#received", TopKeys)
        attended.labels = got.labels = trace.pieces
        attended.weights = self._pattern[chosen.token, : chosen.token + 1]
        attended.chosen = got.chosen = chosen.token, chosen.key
        got.weights = received(self._pattern)
        query = quote_piece(trace.pieces[chosen.token])
        self.query_one("#attended-pane", Pane).set_title(f"query {query}, layer {chosen.layer} head {chosen.head}")
        self.query_one("#received-pane", Pane).set_title("mean weight over the queries")

    def read_out(self, cell: tuple[int, int] | None) -> None:
        """Shows the weight under the mouse, or under the cursor, in this run and in the comparison run."""
        if self._state is None or self._state.main is None or not self._pattern.size:
            return
        chosen, trace = self._state.selection, self._state.main.trace
        token, key = cell or (chosen.token, chosen.key)
        words = f"from {quote_piece(trace.pieces[token])} ({token}) to {quote_piece(trace.pieces[key])} ({key})"
        seen = visible_keys(trace.n_fed, trace.n_fed, trace.spec.layers[chosen.layer].attention.window)[token, key]
        value = show_number(float(self._pattern[token, key])) if seen else "masked"
        mark = "▸" if cell is None else "mouse"
        self.query_one("#readout", TextLine).show_text(
            Content.assemble((f" {mark} ", "$text-muted"), words, "  ", (value, "bold $accent"))
        )
        self.query_one("#comparison-readout", TextLine).show_text(f" {self._second.read_out(token, key)}")

    # ---- copying (OV circuit) ----------------------------------------------------------------------------

    def _draw_copied(self, state: ViewState, main: MeasuredRun) -> None:
        chosen, words = state.selection, self.query_one("#copies", TextLine)
        if (missing := main.lacks(chosen.layer, VALUE)) or main.weights is None:
            words.show_text(f" OV circuit: {missing or NO_WEIGHTS}")
            return
        trace, weights, place = main.trace, main.weights, (chosen.layer, chosen.head, chosen.token, chosen.key)
        found = self._copied.at(place, lambda: read_ov_circuit(trace, weights, *place))
        if isinstance(found, OvReading):
            raised = "  ".join(map(_raised, found.raised))
            key, of = main.quote(chosen.key), main.trace.spec.vocab_size
            label = f" OV circuit of {key} (own logit: rank {found.own_rank + 1:,} of {of:,}), raises logits of "
            words.show_text(Content.assemble((label, "$text-muted"), raised))
        elif found is not None:
            words.show_text(f" {found.text}")

    def on_result_ready(self, message: ResultReady) -> None:
        message.stop()
        message.keep()
        if self._state is not None and self._state.main is not None and not self._notice:
            self._draw_copied(self._state, self._state.main)
            self._change.fill(self, self._state, self._state.main)

    # ---- keys and mouse ---------------------------------------------------------------------------------

    def on_cell_pointed(self, message: CellPointed) -> None:
        message.stop()
        self.read_out(message.cell)

    def make_room(self, size: Size) -> None:
        if self._state is not None:
            self._place(self._state)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A difference needs a comparison run, an edit a model that can run again."""
        state = self._state
        if action in ("ablate", "ablate_all"):
            return True if state is not None and state.can_run else None
        return state is not None and state.compared is not None if action == "pairing" else True

    def _choose(self, **options: object) -> None:
        if self._state is not None:
            self.post_message(OptionsChosen(replace(self._state.options, **options)))  # type: ignore[arg-type]

    def action_log(self) -> None:
        self._choose(is_log=self._state is not None and not self._state.options.is_log)

    def action_first(self) -> None:
        self._choose(drops_first=self._state is not None and not self._state.options.drops_first)

    def action_score(self) -> None:
        if self._state is not None:
            self._choose(score=after(SCORES, self._state.options.score))

    def action_pairing(self) -> None:
        self._choose(shows_difference=self._state is not None and not self._state.options.shows_difference)

    def action_zoom(self) -> None:
        for attention in self.query(AttentionMap):
            attention.is_whole = not attention.is_whole

    def action_ablate(self) -> None:
        if self._state is not None:
            chosen = self._state.selection
            self.post_message(EditToggled(ScaleHead(chosen.layer, chosen.head, 0.0)))

    def action_ablate_all(self) -> None:
        if self._state is not None:
            self.post_message(EditToggled(Ablate(f"layers.{self._state.selection.layer}.attn")))

    def table(self, state: ViewState) -> Table | None:
        """The pattern of the chosen head, one row per cell in the attention window."""
        return pattern_table(state)


def _raised(raised: tuple[str, float | None]) -> str:
    piece, gain = raised
    sign = "+" if gain is not None and gain >= 0 else ""
    return quote_piece(piece) if gain is None else f"{quote_piece(piece)} {sign}{show_number(gain)}"
