"""The Time view: the latency of the last run, of its tokens while they are generated, and of engines, interleaved."""

import multiprocessing
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event

import pytest
from textual.message import Message

from edge.commands.profile_tables import profile_summary
from edge.profile.measure import Plan
from edge.profile.record import Profile
from edge.report.pass_kinds import pass_kinds
from edge.timing import RunTiming, SublayerTiming
from edge.variant import Variant
from edge.watch import Watch
from models.progress import Progress
from models.zoo import zoo_names
from tests.edge.profile import example_profiles
from tests.tui.app_driver import PATIENCE_S, AppDriver, lines_of, running_app
from tests.tui.fake_model import FakeModel, FakeModels, small_spec
from tui.app_factory import app_on_trace
from tui.cost_table import Cost, Heading, as_table
from tui.engine_costs import PARTS, Costs, cost_rows, part_costs
from tui.jobs.job import JobContext
from tui.jobs.profile import ProfileEngines, engine_sets, estimated_s, plan_for
from tui.messages import EnginesTimed, JobProgress, JobStopped, Streaming
from tui.runner import Runner
from tui.view_state import ModelSummary
from tui.views.time import TimeView
from tui.widgets.grid import Grid
from tui.widgets.stacked_bar import stack
from tui.widgets.time.latency_bars import LatencyBars
from tui.widgets.time.layer_stacks import LayerStacks
from tui.widgets.time.throughput_line import ThroughputLine

PROMPT = "Once upon a time"
GRIDS = ("time", "engines", "parts", "layer_times")

REAL = pytest.mark.skipif("fable-relu" not in zoo_names(), reason="fable-relu is not in the zoo of this checkout")


def two_engines() -> Profile:
    return example_profiles.profile(example_profiles.variant("onnx"), example_profiles.variant("torch", slow=2.0))


class FakeMeasure:
    """Measures nothing; with `lasts`, runs until it is stopped."""

    def __init__(self, lasts: bool = False) -> None:
        self.lasts, self.is_under_way = lasts, Event()
        self.asked: list[tuple[str, ...]] = []
        self.threads: set[int | None] = set()

    def __call__(self, variants: Sequence[Variant], plan: Plan, progress: Progress) -> Profile:
        self.asked.append(tuple(variant.engine for variant in variants))
        self.threads |= {variant.threads for variant in variants}
        progress("depth 64: round 1 of 3")
        self.is_under_way.set()
        while self.lasts:
            progress("depth 64: round 2 of 3")
        return two_engines()


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> FakeMeasure:
    """What the view measures with."""
    return faked(monkeypatch, FakeMeasure())


@pytest.fixture
def endless_claim(monkeypatch: pytest.MonkeyPatch) -> FakeMeasure:
    return faked(monkeypatch, FakeMeasure(lasts=True))


def faked(monkeypatch: pytest.MonkeyPatch, measure: FakeMeasure) -> FakeMeasure:
    monkeypatch.setattr("tui.views.time.ProfileEngines", partial(ProfileEngines, measure=measure))
    monkeypatch.setattr(
        "tui.jobs.profile.variant_of", lambda model, engine, threads: Variant(Path(model), engine, threads)
    )
    monkeypatch.setattr("tui.views.time.installed_engines", lambda: ("onnx", "torch", "mlx"))
    return measure


def view_of(ui: AppDriver) -> TimeView:
    return ui.main.query_one(TimeView)


async def open_time(ui: AppDriver) -> None:
    ui.main.shown_view.focus_pane()
    await ui.press("4")


async def profiled(ui: AppDriver) -> None:
    await open_time(ui)
    await ui.press("m")
    await ui.until(lambda: ui.main.state.profile is not None, "the profile")
    await ui.idle()


# ---- the last run ---------------------------------------------------------------------------------------------------


async def test_before_any_run_the_view_says_what_can_be_measured_and_what_it_takes() -> None:
    async with running_app(size=(200, 60)) as ui:
        await open_time(ui)
        assert "press m" in ui.shown("#time"), f"nothing says how to begin:\n{ui.shown('#time')}"
        words = " ".join(ui.shown("#engines").split())
        for part in (
            "press m to time installed engines",
            "3 rounds",
            "expected: about",
            "512 MB",
            "not redraw meanwhile",
        ):
            assert part in words, f"{part!r} is not said before it starts:\n{words}"


async def test_the_last_run_shows_each_sublayer_and_sums_to_its_total() -> None:
    async with running_app(size=(200, 60)) as ui:
        await ui.run(PROMPT)
        await open_time(ui)
        timing, picture = ui.shown_run.timing, ui.shown("#time")
        assert timing is not None
        for words in ("220 µs", "440 µs", "a made-up clock", "96.2%: Σ of timed parts", "median of 20"):
            assert words in picture, f"{words!r} does not show:\n{picture}"
        assert sum(timing.sums_ns.values()) == pytest.approx(timing.total_ns), "the sums do not add up to the total"
        assert "timed separately" in ui.shown("HeaderBar"), "the header calls timed numbers recorded"


async def test_a_run_beside_shares_the_scale() -> None:
    async with running_app(size=(200, 60)) as ui:
        await ui.run(PROMPT)
        await open_time(ui)
        bars, run = ui.main.query_one(LatencyBars), ui.shown_run
        alone_ns = bars.longest_ns
        compared = replace(run, name="mlx", timing=slowed(run.timing, 3.0))
        ui.main.state = replace(ui.main.state, compared=compared)
        await ui.pilot.pause()
        assert bars.longest_ns == pytest.approx(3 * alone_ns), "the slower run does not set the scale"
        picture = ui.shown("#time")
        for words in ("attention onnx", "FFN mlx", "220 µs", "660 µs"):
            assert words in picture, f"{words!r} does not show beside the other run:\n{picture}"


def slowed(timing: SublayerTiming | None, times: float) -> SublayerTiming:
    assert timing is not None
    measured_ns = {scope: times * took for scope, took in timing.measured_ns.items()}
    return replace(timing, measured_ns=measured_ns, total_ns=times * timing.total_ns)


async def test_a_stopped_run_says_why_it_has_no_latencies() -> None:
    async with running_app(FakeModels(pauses=True), size=(200, 60)) as ui:
        await ui.prompt(PROMPT)
        await ui.until(ui.fake_models.opened[0].is_pausing.is_set, "the run to be under way")
        await ui.press("escape", "4")
        await ui.until(lambda: ui.main.state.main is not None, "what the run left")
        await ui.idle()
        assert "a stopped run is not timed" in " ".join(ui.shown("#time").split()), ui.shown("#time")


async def test_up_and_down_choose_layers_and_the_sums_below_can_be_reached() -> None:
    async with running_app(FakeModels(spec=small_spec(12))) as ui:
        await ui.run(PROMPT)
        await open_time(ui)
        bars = ui.main.query_one(LatencyBars)
        await ui.press("pageup")
        assert ui.main.state.selection.layer == 11 and "▸ 11" in ui.shown("#time"), ui.shown("#time")
        await ui.press(*["down"] * 11)
        assert ui.main.state.selection.layer == 0, "down does not choose the layer below"
        await ui.press(*["down"] * 12)
        assert "a made-up clock" in ui.shown("#time"), f"how it was timed cannot be reached:\n{ui.shown('#time')}"
        await ui.press("pageup", "pageup", "pageup")
        assert bars.chosen == 11, "page up does not come back to the layers"


async def test_a_click_on_a_bar_chooses_its_layer() -> None:
    async with running_app(size=(200, 60)) as ui:
        await ui.run(PROMPT)
        await open_time(ui)
        bars = ui.main.query_one(LatencyBars)
        await ui.pilot.click(bars, offset=(12, bars.ruler_lines))
        assert ui.main.state.selection.layer == 2, "a click on the top bar does not choose the last layer"


# ---- how tokens come ------------------------------------------------------------------------------------------------


async def test_the_rate_is_shown_during_a_run_and_its_intervals_after_it() -> None:
    async with running_app() as ui:
        await ui.run(PROMPT)
        await open_time(ui)
        line = ui.main.query_one(ThroughputLine)
        reported = [Streaming(("Once",) * 6, 2, 80.0, rate) for rate in (50.0, 100.0, 25.0)]
        for message in reported:
            ui.main.on_streaming(message)
        await ui.pilot.pause()
        live = lines_of(line)
        for words in ("25.0 tok/s", "4 tokens", "ttft 80.0 ms", "0 to 100 tok/s"):
            assert words in live, f"{words!r} is not said while the run goes on:\n{live}"
        ui.main.draw()
        afterward = lines_of(line)
        for words in ("167 tok/s", "p50 6.00, p90 6.00 ms", "ttft 12.3 ms", "0 to 6.00 ms"):
            assert words in afterward, f"{words!r} is not said of the run:\n{afterward}"


async def test_columns_show_every_interval_and_mark_those_beyond_the_scale() -> None:
    async with running_app(size=(200, 60)) as ui:
        await open_time(ui)
        line = ui.main.query_one(ThroughputLine)
        line.timing = run_timing(*[4.0] * 20, 90.0)
        picture = lines_of(line)
        assert "≥8.00 ms" in picture, f"the scale does not say that something lies beyond it:\n{picture}"
        assert picture.count("▲") == 3, f"the interval beyond the scale is not marked, three cells wide:\n{picture}"
        line.timing = run_timing(*[4.0] * 900, 5.0)
        assert "max of 14" in lines_of(line), "columns that stand for several intervals do not say so"


async def test_fewer_than_two_tokens_have_no_rate() -> None:
    async with running_app() as ui:
        await open_time(ui)
        line = ui.main.query_one(ThroughputLine)
        line.timing = run_timing()
        assert "fewer than 2 tokens" in lines_of(line), lines_of(line)


def run_timing(*inter_token_ms: float) -> RunTiming:
    return RunTiming(tokenize_ms=0.1, prefill_ms=10.0, ttft_ms=12.3, inter_token_ms=inter_token_ms)


# ---- engines compared -----------------------------------------------------------------------------------------------


async def test_m_times_the_installed_engines_without_any_prompt(measure: FakeMeasure) -> None:
    async with running_app(size=(200, 60)) as ui:
        await profiled(ui)
        assert measure.asked == [("onnx", "torch", "mlx")], f"measured were {measure.asked}"
        assert measure.threads == {2}, f"the engine at hand computes with 2 threads, these with {measure.threads}"
        picture = f"{ui.main.query_one('#engines-pane').border_title}\n{ui.shown('#engines')}"
        for words in (
            "▸onnx",
            "torch",
            "a decode step",
            "inter-token",
            "coverage",
            "100 MB",
            "without redrawing",
        ):
            assert words in picture, f"{words!r} is not in\n{picture}"
        assert "qkv" in ui.shown("#parts"), f"parts do not show:\n{ui.shown('#parts')}"
        assert "▓" in ui.shown("#layer_times") and "█" in ui.shown("#layer_times"), (
            "attention and FFN are not told apart"
        )


async def test_a_chooses_which_engines_are_timed(measure: FakeMeasure) -> None:
    async with running_app(size=(200, 60)) as ui:
        await open_time(ui)
        await ui.press("a")
        assert "onnx:int4, mlx:int4" in " ".join(ui.shown("#engines").split()), ui.shown("#engines")
        await ui.press("m")
        await ui.until(lambda: ui.main.state.profile is not None, "the profile")
        assert measure.asked == [("onnx", "torch", "mlx", "onnx:int4", "mlx:int4")], f"measured were {measure.asked}"


async def test_v_shows_a_prompt_instead_of_a_decode_step(measure: FakeMeasure) -> None:
    async with running_app(size=(200, 60)) as ui:
        await open_time(ui)
        assert not offers(ui, "kind"), "v is offered before there is anything to switch"
        await profiled(ui)
        assert offers(ui, "kind")
        await ui.press("v")
        assert "prefill, end to end" in ui.shown("#engines") and "GFLOP/s" in ui.shown("#engines"), ui.shown("#engines")
        await ui.press("v")
        assert "inter-token" in ui.shown("#engines"), "v does not come back to the decode step"


def offers(ui: AppDriver, action: str) -> bool:
    return any(one.binding.action == action and one.enabled for one in ui.main.active_bindings.values())


async def test_escape_stops_a_measurement_and_what_showed_comes_back(endless_claim: FakeMeasure) -> None:
    async with running_app(size=(200, 60)) as ui:
        await open_time(ui)
        await ui.press("m")
        await ui.until(lambda: "round 2 of 3" in ui.shown("#engines"), "word of how far it is")
        assert "not redraw meanwhile" in " ".join(ui.shown("#engines").split()), "nobody says that the screen rests"
        await ui.press("1", "escape")
        await ui.idle()
        await ui.press("4")
        assert "press m" in ui.shown("#engines"), f"the picture of the measurement stayed:\n{ui.shown('#engines')}"
        assert ui.main.state.profile is None


async def test_another_prompt_ends_a_measurement(endless_claim: FakeMeasure) -> None:
    async with running_app() as ui:
        await open_time(ui)
        await ui.press("m")
        await ui.until(endless_claim.is_under_way.is_set, "the measurement to be under way")
        await ui.run(PROMPT)
        assert ui.main.state.profile is None and ui.shown_run.timing is not None


async def test_layers_of_engines_are_chosen_with_and_without_a_run(measure: FakeMeasure) -> None:
    async with running_app(size=(200, 60)) as ui:
        await profiled(ui)
        stacks = ui.main.query_one(LayerStacks)
        stacks.focus()
        await ui.press("up", "up")
        assert stacks.chosen == example_profiles.LAYERS - 1, "without a run, up does not choose the layer above"
        assert f"layer {stacks.chosen}" in ui.shown("#parts"), "parts show another layer"
        await ui.run(PROMPT)
        await ui.pilot.click(stacks, offset=(14, stacks.ruler_lines + 1))
        assert ui.main.state.selection.layer == 0, "a click on the lower bar does not choose the first layer"


async def test_a_saved_trace_offers_no_measurement() -> None:
    model = FakeModel()
    ids = model.tokenizer.encode(PROMPT)
    app = app_on_trace(model.run(ids=ids, max_new_tokens=5, watch=Watch.nothing()))
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.press("4")
        await pilot.pause()
        pictures = " ".join(" ".join(lines_of(app.main.query_one(f"#{name}")).split()) for name in ("time", "engines"))
        assert "has no sublayer latencies" in pictures and "has no model to time" in pictures, pictures
        offered = {one.binding.action for one in app.main.active_bindings.values() if one.enabled}
        assert not offered & {"measure", "engine_set", "kind"}, f"a saved trace offers {offered}"


async def test_the_view_as_rows_is_what_it_shows(measure: FakeMeasure) -> None:
    async with running_app(size=(200, 60)) as ui:
        await open_time(ui)
        view = view_of(ui)
        assert view.table(ui.main.state) is None, "an empty view has rows"
        await ui.run(PROMPT)
        before = view.table(ui.main.state)
        assert before is not None and [column.key for column in before.columns] == ["quantity", "unit", "onnx"]
        assert ("layer 2 attention, measured", "ms", 0.22) in [tuple(row) for row in before.rows]
        await profiled(ui)
        after = view.table(ui.main.state)
        assert after is not None and [column.key for column in after.columns] == ["quantity", "unit", "onnx", "torch"]
        assert after.csv().startswith("quantity,unit,onnx,torch\n")


@pytest.mark.parametrize("size", [(80, 24), (104, 34), (200, 60)])
@pytest.mark.parametrize("color", ["color", "no color"])
async def test_every_pane_draws_at_every_size_and_without_color(
    size: tuple[int, int], color: str, measure: FakeMeasure, monkeypatch: pytest.MonkeyPatch
) -> None:
    if color == "no color":
        monkeypatch.setenv("NO_COLOR", "1")
    async with running_app(size=size) as ui:
        await ui.run(PROMPT)
        await profiled(ui)
        for name in GRIDS:
            view_of(ui).pane = name
            ui.main.query_one(f"#{name}").focus()
            await ui.pilot.pause()
            grid = ui.main.query_one(f"#{name}", Grid)
            assert grid.size.area > 0, f"pane {name} has no room at {size}"
            for y in range(grid.size.height):
                cells = grid.render_line(y).cell_length
                assert cells == grid.width, f"line {y} of {name} is {cells} cells of {grid.width}"
        ui.app.export_screenshot()


# ---- numbers --------------------------------------------------------------------------------------------------------


def costs_of(profile: Profile, is_decode: bool) -> Costs:
    kind = next(one for one in pass_kinds(profile) if (one.tokens == 1) == is_decode)
    return Costs(profile, kind)


@pytest.mark.parametrize("is_decode", [True, False])
def test_shares_and_gap_sum_to_the_whole_pass(is_decode: bool) -> None:
    costs = costs_of(two_engines(), is_decode)
    rows = [row for row in cost_rows(costs) if isinstance(row, Cost)]
    divided = [row for row in rows if row.title in PARTS.values() and row.unit == "ms"]
    for engine, name in enumerate(costs.engines):
        whole = next(row.values[engine] for row in rows if row.title == "uninstrumented, p50")
        assert sum(row.values[engine] or 0.0 for row in divided) == pytest.approx(whole), f"times of {name}"
        assert sum(row.shares[engine] or 0.0 for row in divided) == pytest.approx(1.0), f"shares of {name}"


def test_the_numbers_are_those_of_edge_profile() -> None:
    profile = two_engines()
    rows = {(row.title, row.unit): row for row in cost_rows(costs_of(profile, True)) if isinstance(row, Cost)}
    summary = profile_summary(profile)
    for engine, row in enumerate(summary["end_to_end"]):
        assert rows["p50", "ms"].values[engine] == row["decode_p50_ms"]
        assert rows["p90", "ms"].values[engine] == row["decode_p90_ms"]
        assert rows["rate, mean", "tok/s"].values[engine] == row["decode_tokens_per_s"]
        assert rows["end to end", "GB/s"].shares[engine] == row["bandwidth_ratio"]
    for engine, memory in enumerate(summary["memory"]):
        assert rows["process peak", "bytes"].values[engine] == pytest.approx(
            1e6 * float(memory["process_peak_mb"] or 0)
        )


def test_parts_of_a_sublayer_sum_to_it() -> None:
    costs = costs_of(two_engines(), True)
    rows = [row for row in part_costs(costs, 1) if isinstance(row, Cost)]
    once = rows[: len(rows) // 2]
    attention = sum(row.values[0] or 0.0 for row in once if row.title.startswith("attn."))
    assert attention == pytest.approx(costs.accounts[0].sums_ns["attn"] / 1e6), "parts do not sum to attention"
    alone = sum(row.values[0] or 0.0 for row in rows[len(once) :] if row.title.startswith("ffn."))
    assert alone == pytest.approx(costs.accounts[0].scaled_ns["layers.1.ffn"] / 1e6), "parts do not sum to one FFN"
    assert [row.title for row in once] == ["attn.qkv", "attn.core", "ffn.up", "ffn.down"], (
        "a part without a clock shows"
    )


def test_noise_is_said_first() -> None:
    noisy = example_profiles.profile(example_profiles.variant("onnx", wobble=0.5))
    first = next(iter(cost_rows(costs_of(noisy, True))))
    assert isinstance(first, Heading) and first.warns and "medians of rounds differ by over 20%" in first.title
    calm = next(iter(cost_rows(costs_of(two_engines(), True))))
    assert isinstance(calm, Heading) and not calm.warns, "a calm profile is called noisy"


def test_a_table_has_a_row_for_each_quantity_and_one_for_its_shares() -> None:
    rows = (Heading("inside · 10 passes"), Cost("FFN", "ms", (1.0, None), (0.5, None)))
    table = as_table(("onnx", "torch"), rows)
    assert [tuple(row) for row in table.rows] == [("inside: FFN", "ms", 1.0, None), ("inside: FFN", "share", 0.5, None)]


@pytest.mark.parametrize("took", [(1.0, 2.0, 3.0), (0.4, 0.4, 0.4), (0.0, 9.0, 0.0), (5.0, 5.0, 5.0)])
def test_a_stacked_bar_is_as_long_as_its_sum(took: tuple[float, ...]) -> None:
    parts = dict(zip(("attn", "ffn", "head"), took, strict=True))
    pieces = stack(parts, 10.0, 20)
    assert [kind for kind, _ in pieces] == ["attn", "ffn", "outside"]
    assert all(cells >= 0 for _, cells in pieces)
    assert sum(cells for _, cells in pieces) == min(20, round(sum(took) / 10.0 * 20))


def model_summary(engine: str = "onnx", context: int = 512) -> ModelSummary:
    return ModelSummary("fake", "fake", engine, replace(small_spec(), context=context), 10**6, 2, True)


def test_engines_to_time_are_distinguished_and_no_choice_is_repeated() -> None:
    found = engine_sets("onnx:int4", ("onnx", "mlx"))
    assert [one.engines for one in found] == [
        ("onnx:int4", "onnx", "mlx"),
        ("onnx:int4", "onnx", "mlx", "mlx:int4"),
        ("onnx:int4",),
    ]
    assert len(engine_sets("torch", ("torch",))) == 1, "with one engine there is nothing to choose"
    stored = engine_sets("onnx:mixed", ("onnx", "mlx"), "mixed")
    assert [one.engines for one in stored] == [("onnx:mixed", "mlx:mixed"), ("onnx:mixed",)], (
        "stored weights are offered in a precision that they do not have"
    )


def test_a_plan_fits_a_short_context() -> None:
    for context in (4, 40, 512):
        spec = model_summary(context=context).spec
        assert plan_for(spec).workloads(spec), f"nothing is measured in a context of {context} tokens"


def test_more_engines_and_slower_ones_are_expected_to_take_longer() -> None:
    model, plan = model_summary(), plan_for(model_summary().spec)
    few = estimated_s(model, ("onnx",), plan, 1e6)
    assert few < estimated_s(model, ("onnx", "mlx"), plan, 1e6)
    assert few < estimated_s(model, ("onnx",), plan, 1e8)


# ---- real processes -------------------------------------------------------------------------------------------------

TINY = Plan(depths=(8,), prompt=8, tokens=3, rounds=2, repeats=2)


@REAL
def test_a_real_profile_has_times_coverage_and_memory() -> None:
    posted: list[Message] = []
    ProfileEngines("fable-relu", ("onnx",), TINY).work(JobContext(FakeModels().open, posted.append))
    reported = [message.work for message in posted if isinstance(message, JobProgress)]
    assert any("round 1 of 2" in work for work in reported), f"it never says how far it is: {reported}"
    last = posted[-1]
    assert isinstance(last, EnginesTimed)
    for is_decode in (True, False):
        costs = costs_of(last.profile, is_decode)
        rows = {row.title: row for row in cost_rows(costs) if isinstance(row, Cost)}
        for title in ("uninstrumented, p50", "attention", "FFN", "coverage", "process peak"):
            assert (rows[title].values[0] or 0.0) > 0, f"{title} of {costs.title} is nothing"
    assert not multiprocessing.active_children(), "a process outlived the profile"


@REAL
def test_a_stopped_profile_leaves_no_process() -> None:
    posted: list[Message] = []
    is_under_way, is_over = Event(), Event()

    def post(message: Message) -> None:
        posted.append(message)
        if isinstance(message, JobProgress) and "round" in message.work:
            is_under_way.set()
        elif isinstance(message, JobStopped):
            is_over.set()

    runner = Runner(FakeModels().open)
    runner.start(post)
    try:
        runner.do(ProfileEngines("fable-relu", ("onnx",), Plan(depths=(8,), prompt=8, tokens=400, rounds=10_000)))
        assert is_under_way.wait(PATIENCE_S), "the profile never began"
        assert multiprocessing.active_children(), "nothing runs apart"
        runner.stop()
        assert is_over.wait(PATIENCE_S), "the profile does not stop"
        assert not multiprocessing.active_children(), "a process outlived the profile that was stopped"
        assert not any(isinstance(message, EnginesTimed) for message in posted)
    finally:
        assert runner.close(PATIENCE_S)
