"""Time: the latency of every sublayer, and a comparison of engines timed in interleaved rounds."""

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from edge.engines.registry import installed_engines
from edge.picture.units import show_time
from edge.profile.record import Profile
from edge.report.pass_kinds import PassKind, pass_kinds
from edge.tables import Table
from edge.timing import SublayerTiming
from models.errors import EdgeError
from models.sites import SUBLAYERS
from tui.cost_table import as_table
from tui.engine_costs import Costs, cost_rows, layer_ms, part_costs, timing_rows
from tui.jobs.estimate import EngineSets, show_duration
from tui.jobs.job import JobRequested
from tui.jobs.profile import (
    TIMING,
    ProfileEngines,
    cost_text,
    engine_sets,
    estimated_s,
    plan_for,
    plan_text,
    threads_of,
)
from tui.messages import LayerChosen, Streaming
from tui.options import after
from tui.view_state import MeasuredRun, ModelSummary, ViewState
from tui.views.view import View
from tui.widgets.pane import Pane
from tui.widgets.stacked_bar import StackLegend
from tui.widgets.time.cost_columns import CostColumns
from tui.widgets.time.latency_bars import LatencyBars, sum_words
from tui.widgets.time.layer_stacks import LayerStacks
from tui.widgets.time.throughput_line import ThroughputLine

NO_REDRAWING = "redrawing would change the timings, so this screen does not redraw meanwhile"


class TimeView(View):
    """The sublayers of the last run; the passes of every engine, in total and per layer."""

    DEFAULT_CSS = """
    TimeView {
        & > .panes { layout: grid; grid-size: 2 2; grid-columns: 2fr 3fr; grid-rows: 9fr 4fr; }
        ThroughputLine { height: 7; margin-bottom: 1; }
        &.folded ThroughputLine { height: 2; margin-bottom: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "m", "measure", "time engines", tooltip="Time engines in interleaved rounds, each in a separate process"
        ),
        Binding("v", "kind", "decode or prefill", tooltip="Show a decode step, or a prefill"),
        Binding("a", "engine_set", "engines", tooltip="Select which engines are timed"),
    ]

    title = "Time"
    tabs: ClassVar[dict[str, str]] = {
        "time": "last run",
        "engines": "engines",
        "parts": "parts",
        "layer_times": "layers",
    }
    shows = "timed separately"
    needs_run = False

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._state = ViewState()
        self._profile: Profile | None = None
        self._kinds: list[PassKind] = []
        self._costs: Costs | None = None
        self._refusal, self._progress = "", ""
        self._engine_sets = EngineSets(engine_sets, installed_engines())

    def compose_panes(self) -> Iterator[Widget]:
        yield Pane("time", self.tabs["time"], ThroughputLine(), LatencyBars(id="time"))
        yield Pane(
            "engines", self.tabs["engines"], CostColumns(id="engines"), StackLegend(*SUBLAYERS, "outside", "gap")
        )
        yield Pane("parts", self.tabs["parts"], CostColumns(id="parts"))
        yield Pane("layer_times", self.tabs["layer_times"], LayerStacks(id="layer_times"), StackLegend(*SUBLAYERS))

    # ---- drawing ---------------------------------------------------------------------------------------

    def draw(self, state: ViewState) -> None:
        self._state = state
        self._draw_run(state)
        if state.profile is not self._profile:
            self._take(state.profile)
        self._draw_costs(state)

    def show_live(self, message: Streaming) -> None:
        self.query_one(ThroughputLine).live = message

    def show_progress(self, work: str) -> None:
        """Shows the progress of a measurement in place of the tables."""
        is_timing = work.startswith(TIMING)
        if is_timing or self._progress:
            self._progress = work.removeprefix(f"{TIMING}: ") if is_timing else ""
            self._draw_costs(self._state)

    def _draw_run(self, state: ViewState) -> None:
        throughput, bars = self.query_one(ThroughputLine), self.query_one(LatencyBars)
        throughput.live, throughput.timing = None, state.main.trace.timing if state.main else None
        bars.runs, bars.notice = _timed_runs(state), _run_notice(state)
        bars.chosen = state.selection.layer
        pane = self.query_one("#time-pane", Pane)
        if not bars.runs:
            pane.set_title("")
            return
        (name, timing), *others = bars.runs
        against = f" and {others[0][0]}" if others else ""
        note = f"{sum_words(timing)} · full bar {show_time(bars.longest_ns)}"
        pane.set_title(f"a decode step, {timing.depth} cached tokens · {name}{against}", note)

    def _take(self, profile: Profile | None) -> None:
        """Shows a profile, its decode step first."""
        self._profile, self._kinds, self._refusal = profile, [], ""
        if profile is not None:
            try:
                self._kinds = pass_kinds(profile)
            except EdgeError as error:
                self._refusal = str(error)
        self._show_kind(self._kinds[-1] if self._kinds else None)

    def _show_kind(self, kind: PassKind | None) -> None:
        self._costs = Costs(self._profile, kind) if self._profile and kind else None
        table, stacks, costs = self._table, self._stacks, self._costs
        table.engines = self._parts.engines = stacks.engines = costs.engines if costs else ()
        table.rows = tuple(cost_rows(costs)) if costs else ()
        stacks.accounts = costs.accounts if costs else ()
        for legend, full_ns in zip(self.query(StackLegend), (table.full_ns, stacks.full_ns), strict=True):
            legend.full_ns = full_ns

    def _draw_costs(self, state: ViewState) -> None:
        if state.main is not None:
            self._stacks.chosen = state.selection.layer
        costs, layer = self._costs, self._stacks.chosen
        self._parts.rows = tuple(part_costs(costs, layer)) if costs else ()
        self._table.current = self._parts.current = state.model.engine if state.model else ""
        notice = self._costs_notice(state.model)
        self._table.notice = notice
        self._parts.notice = "the latency of each part of attention and the FFN, on each engine" if notice else ""
        self._stacks.notice = "the latency of each layer, on each engine" if notice else ""
        for legend in self.query(StackLegend):
            legend.display = not notice
        self._set_titles(state.model, None if notice else costs)

    def _set_titles(self, model: ModelSummary | None, costs: Costs | None) -> None:
        notes = {"engines": self._again(model), "parts": "", "layer_times": self._stacks.chosen_words()}
        for name, note in notes.items():
            pane = self.query_one(f"#{name}-pane", Pane)
            pane.set_title(costs.title if costs else "", note if costs else "")

    @property
    def _table(self) -> CostColumns:
        return self.query_one("#engines", CostColumns)

    @property
    def _parts(self) -> CostColumns:
        return self.query_one("#parts", CostColumns)

    @property
    def _stacks(self) -> LayerStacks:
        return self.query_one(LayerStacks)

    def _again(self, model: ModelSummary | None) -> str:
        choice = self._engine_sets.current(self._state.model)
        if model is None or choice is None:
            return ""
        lasts_s = estimated_s(model, choice.engines, plan_for(model.spec), self._state.step_ns)
        return f"m times {choice.title} again, {show_duration(lasts_s)}"

    def _costs_notice(self, model: ModelSummary | None) -> str:
        """What to do, or what is running, while there is no profile; empty once there is one."""
        if self._progress:
            return f"timing engines in interleaved rounds\n\n{self._progress}\n\n{NO_REDRAWING}\nescape stops it"
        if self._refusal:
            return self._refusal
        if self._costs is not None:
            return ""
        choice = self._engine_sets.current(self._state.model)
        if model is None:
            return "no model is loaded yet"
        if choice is None:
            return "a saved trace has no model to time; open one with o, then press m"
        plan, available = plan_for(model.spec), self._engine_sets.available(self._state.model)
        others = (
            f"\na chooses other engines: {', '.join(after(available, choice).engines)}" if len(available) > 1 else ""
        )
        return "\n".join(
            (
                f"press m to time {choice.title}: {', '.join(choice.engines)}{others}",
                "",
                plan_text(plan, model.spec),
                f"expected: {cost_text(model, choice.engines, plan, self._state.step_ns)}",
                "",
                f"no prompt is needed; {NO_REDRAWING}",
            )
        )

    # ---- keys -------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "measure":
            return bool(self._engine_sets.available(self._state.model))
        if action == "engine_set":
            return len(self._engine_sets.available(self._state.model)) > 1
        if action == "kind":
            return len(self._kinds) > 1
        return True

    def action_measure(self) -> None:
        model, choice = self._state.model, self._engine_sets.current(self._state.model)
        if model is not None and choice is not None:
            job = ProfileEngines(model.source, choice.engines, plan_for(model.spec), threads_of(model))
            self.post_message(JobRequested(job))

    def action_engine_set(self) -> None:
        self._engine_sets.next()
        self._draw_costs(self._state)

    def action_kind(self) -> None:
        if self._costs is not None:
            at = self._kinds.index(self._costs.kind)
            self._show_kind(self._kinds[(at + 1) % len(self._kinds)])
            self._draw_costs(self._state)

    def on_layer_chosen(self, message: LayerChosen) -> None:
        """Without a run there is no selection yet: the layer is then chosen in this view only."""
        if self._state.main is None:
            message.stop()
            self._stacks.chosen = message.layer
            self._draw_costs(self._state)

    # ---- table ---------------------------------------------------------------------------------------

    def table(self, state: ViewState) -> Table | None:
        """The engines once they are timed; before that, the current run and the comparison run."""
        if state.profile is not None and self._costs is not None:
            return as_table(self._costs.engines, (*cost_rows(self._costs), *layer_ms(self._costs.accounts)))
        runs = _timed_runs(state)
        names = tuple(name for name, _ in runs)
        return as_table(names, timing_rows([timing for _, timing in runs], names)) if runs else None


def _timed_runs(state: ViewState) -> tuple[tuple[str, SublayerTiming], ...]:
    """The current run, and the comparison run, as far as they are timed."""
    if state.main is None or state.main.timing is None:
        return ()
    runs: list[MeasuredRun | None] = [state.main, state.compared]
    return tuple((run.name, run.timing) for run in runs if run is not None and run.timing is not None)


def _run_notice(state: ViewState) -> str:
    """Why there are no latencies; empty where there are."""
    main = state.main
    if main is None:
        return "no run yet: type a prompt, or press m to time engines without one"
    if main.timing is not None:
        return ""
    if not (state.model and state.model.source):
        return "a saved trace has no sublayer latencies; open its model with o, and run the prompt again"
    if main.trace.finish == "stopped":
        return "a stopped run is not timed; run it again, or press m to time engines"
    return "sublayers are timed after the run is measured\n(a stopped run is not timed)"
