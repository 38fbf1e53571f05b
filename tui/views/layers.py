"""Layers: one row per layer at the chosen token: latency, logit lens, sparsity, contribution; and the next token."""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from edge.edits import Ablate
from edge.insight.predictions import LensPredictions, read_predictions
from edge.measure.overview import Overview
from edge.picture.coverage import coverage_note
from edge.picture.levels import Linear
from edge.picture.palettes import SIGNED
from edge.picture.part_titles import part_title
from edge.picture.pieces import quote_piece
from edge.picture.units import show_time
from edge.tables import Column, Table
from edge.timing import SublayerTiming
from tui.messages import EditToggled
from tui.result_cache import ResultCache, ResultReady, Unavailable
from tui.view_state import MeasuredRun, ViewState
from tui.views import sublayer_change
from tui.views.layer_rows import Found, rows_of
from tui.views.prediction_change import PredictionChange, prediction_pane
from tui.views.view import View
from tui.widgets.layers.layer_table import LayerTable
from tui.widgets.layers.prediction_bars import PredictionBars
from tui.widgets.legend import Legend
from tui.widgets.pane import Pane
from tui.widgets.sparsity_map import SparsityMap
from tui.widgets.text_line import TextLine

SPACIOUS = 150
"""Columns from which the table and the next token fit side by side."""

NO_WEIGHTS = "a saved trace has no weights, and the logit lens needs them;\nopen its model with o"


class LayersView(View):
    """The whole model, one row per layer."""

    DEFAULT_CSS = """
    LayersView {
        & > .panes { layout: grid; grid-size: 1 2; grid-rows: 1fr 11; }
        #contributions-pane, #prediction-pane { display: none; }
        &.edited #prediction-pane { display: block; }
        &.edited #next-pane { display: none; }
        &.spacious > .panes { grid-size: 2 2; grid-columns: 1fr 46; grid-rows: auto 1fr; }
        &.spacious #layers-pane, &.spacious #layers { height: auto; }
        &.spacious #layers { max-height: 40; }
        &.spacious #next-pane, &.spacious #prediction-pane { row-span: 2; }
        &.spacious.edited > .panes { grid-columns: 1fr 60; }
        &.spacious #contributions-pane { display: block; }
        &.folded > .panes { grid-size: 1 1; grid-columns: 1fr; grid-rows: 1fr; }
        &.folded Pane { display: none; }
        &.folded Pane.shown, &.folded #contributions-pane.shown, &.folded #prediction-pane.shown { display: block; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "a",
            "ablate('attn')",
            "ablate attention",
            tooltip="Ablate the layer's attention in the comparison run, or restore it",
        ),
        Binding(
            "z", "ablate('ffn')", "ablate FFN", tooltip="Ablate the layer's FFN in the comparison run, or restore it"
        ),
        Binding("v", "columns", "more columns", tooltip="Show the next columns"),
    ]

    title = "Layers"
    tabs: ClassVar[dict[str, str]] = dict(
        layers="layers", next="next token", prediction="prediction", contributions="contributions"
    )
    shows = "recorded run · timed separately"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._predictions: ResultCache[LensPredictions] = ResultCache("predictions", self)
        self._others: ResultCache[LensPredictions] = ResultCache("predictions of the comparison run", self)
        self._change = PredictionChange(self, "change, layers")
        self._of: dict[ResultCache[LensPredictions], object] = {}
        self._state: ViewState | None = None
        self._drawn: tuple[object, ...] = ()
        self._written: Overview | None = None

    def compose_panes(self) -> Iterator[Widget]:
        yield Pane("layers", "layers", LayerTable(id="layers"), TextLine(id="layers-sum"))
        yield Pane("next", "next token", PredictionBars(id="next"))
        yield prediction_pane()
        yield Pane("contributions", "contributions", SparsityMap(id="contributions"), Legend(id="contributions-legend"))

    def draw(self, state: ViewState) -> None:
        self._state = state
        assert state.main is not None
        self._forget_what_is_gone(state)
        predictions = self._read(self._predictions, state.main, state)
        compared = self._read(self._others, state.compared, state)
        table, chosen = self.query_one("#layers", LayerTable), state.selection
        self._place()
        self._change.fill(self, state, state.main)
        needs = (
            state.main,
            state.compared,
            state.comparison,
            predictions,
            compared,
            state.options.sparsity,
            state.edits,
        )
        asked = (chosen.token, *map(id, needs))
        if asked != self._drawn:
            self._drawn = asked
            table.has_parity, table.has_compared = state.comparison is not None, state.compared is not None
            table.sparsity, table.is_scaled = state.options.sparsity.title, state.main.is_scaled
            table.has_edits, table.edited = bool(state.edits), state.ablated.layers
            table.longest_ns = max(_sublayers(state.main.timing), default=0.0)
            table.rows = rows_of(state, predictions, compared)
            self.query_one("#layers-sum", TextLine).show_text(" " + _total_line(state.main.timing))
            self._draw_next(state, predictions, compared)
        self._draw_writes(state, state.main)
        table.chosen = chosen.layer
        self._set_titles(state.main, state)

    def make_room(self, size: Size) -> None:
        self._place()
        self.call_after_refresh(self._update_page_note)

    def _place(self) -> None:
        self.set_class(not self.is_folded and self.size.width >= SPACIOUS, "spacious")
        self.set_class(not self.is_folded and self._state is not None and bool(self._state.edits), "edited")

    def _update_page_note(self) -> None:
        """Called once the table has its size, which is not known before the view is drawn."""
        if self._state is not None and self._state.main is not None:
            self._set_titles(self._state.main, self._state)

    def _set_titles(self, main: MeasuredRun, state: ViewState) -> None:
        table, token = self.query_one("#layers", LayerTable), state.selection.token
        pages = len(table.pages())
        page = f"columns {table.page % pages + 1} of {pages}, v for more" if pages > 1 else ""
        what = f"effect of {state.edits_title}" if state.edits else f"sparsity: {state.options.sparsity.title}"
        title = f"{what} at {quote_piece(main.trace.pieces[token])} (token {token})"
        self.query_one("#layers-pane", Pane).set_title(title, page)

    def _draw_next(self, state: ViewState, found: Found, compared: Found) -> None:
        assert state.main is not None
        bars, token = self.query_one("#next", PredictionBars), state.selection.token
        if not isinstance(found, LensPredictions):
            bars.notice = found.text if found is not None else "computing …"
            return
        bars.notice = ""
        bars.predictions = found.final
        bars.others = compared.final if isinstance(compared, LensPredictions) else ()
        follows = state.main.trace.pieces[token + 1] if token + 1 < len(state.main.trace.pieces) else None
        final_from = f"top-1 from layer {found.final_from_layer}"
        note = f"{final_from} · text: {quote_piece(follows)}" if follows is not None else final_from
        after = f"after {quote_piece(state.main.trace.pieces[token])}"
        against = (
            f", {state.main.name} above {state.compared.name}"
            if state.compared is not None and isinstance(compared, LensPredictions)
            else ""
        )
        self.query_one("#next-pane", Pane).set_title(after + against, note)

    def _draw_writes(self, state: ViewState, main: MeasuredRun) -> None:
        """The FFN's share of the contribution to the residual stream, for every layer and token."""
        writes, legend = self.query_one("#contributions", SparsityMap), self.query_one("#contributions-legend", Legend)
        if self._written is not main.overview:
            self._written = main.overview
            both = main.overview.attn_write + main.overview.ffn_write
            writes.scale, writes.shares = Linear(0.0, 1.0), main.overview.ffn_write / np.maximum(both, 1e-9)
            writes.labels = main.trace.pieces
        writes.chosen = state.selection.layer, state.selection.token
        writes.palette = legend.palette = SIGNED
        legend.title, legend.scale = "‖FFN‖ / (‖attention‖ + ‖FFN‖)", writes.scale
        legend.note = "0: attention only"
        self.query_one("#contributions-pane", Pane).set_title("FFN share of ‖attention‖ + ‖FFN‖")

    # ---- logit lens ------------------------------------------------------------------------------------

    def _forget_what_is_gone(self, state: ViewState) -> None:
        """Drops the results of runs that are no longer shown."""
        for readings, shown in ((self._predictions, state.main), (self._others, state.compared)):
            trace = shown.trace if shown is not None else None
            if self._of.get(readings) is not trace:
                self._of[readings] = trace
                readings.clear()

    def _read(self, readings: ResultCache[LensPredictions], shown: MeasuredRun | None, state: ViewState) -> Found:
        """The logit lens of a run after each layer; None while it is computed, and without a run."""
        if shown is None:
            return None
        trace, weights = shown.trace, shown.weights
        if weights is None:
            return Unavailable(NO_WEIGHTS)
        token = min(state.selection.token, trace.n_fed - 1)
        return readings.at(token, lambda: read_predictions(trace, weights, token))

    def on_result_ready(self, message: ResultReady) -> None:
        message.stop()
        message.keep()
        if self._state is not None and self._state.main is not None:
            self.show(self._state)

    # ---- keys -------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offers more columns if there are any, and edits if the model can run again."""
        if action == "ablate":
            return True if self._state is not None and self._state.can_run else None
        return action != "columns" or (self.is_mounted and len(self.query_one("#layers", LayerTable).pages()) > 1)

    def action_ablate(self, part: str) -> None:
        if self._state is not None:
            self.post_message(EditToggled(Ablate(f"layers.{self._state.selection.layer}.{part}")))

    def action_columns(self) -> None:
        table = self.query_one("#layers", LayerTable)
        table.page = (table.page + 1) % len(table.pages())
        self._update_page_note()

    def table(self, state: ViewState) -> Table | None:
        """One row per layer."""
        if state.main is None:
            return None
        predictions, compared = (
            self._read(readings, shown, state)
            for readings, shown in ((self._predictions, state.main), (self._others, state.compared))
        )
        rows = rows_of(state, predictions, compared)
        columns = [
            *(Column(key, key) for key in ("layer", "token", "attn_ns", "ffn_ns", "attn_norm", "ffn_norm")),
            *(
                Column(key, key)
                for key in (state.options.sparsity.key, "logit_lens_token", "logit_lens_probability", "heads")
            ),
            *(Column(key, key) for key in sublayer_change.COLUMNS),
        ]
        lengths = state.main.overview
        token = state.selection.token
        return Table(
            columns,
            [
                (
                    *(row.layer, token, row.attn_ns, row.ffn_ns),
                    *(float(lengths.attn_write[row.layer, token]), float(lengths.ffn_write[row.layer, token])),
                    *(row.sparsity, *(row.prediction or (None, None)), row.kinds),
                    *sublayer_change.edited_cells(state, row),
                )
                for row in rows
            ],
        )


def _sublayers(timing: SublayerTiming | None) -> tuple[float, ...]:
    return tuple(took for scope, took in timing.scaled_ns.items() if "." in scope) if timing else ()


def _total_line(timing: SublayerTiming | None) -> str:
    """The total, and the parts outside the layers."""
    if timing is None:
        return "not timed yet"
    rests = " · ".join(
        f"{part_title(scope)} {show_time(timing.scaled_ns.get(scope, 0.0))}" for scope in ("embed", "head", "other")
    )
    return f"uninstrumented {show_time(timing.total_ns)} · {coverage_note(timing)} · {rests}"
