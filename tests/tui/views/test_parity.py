"""The Parity view: engines compared with a reference, where each exceeds its tolerance, and laws checked on demand."""

import math
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from textual.message import Message
from textual.widgets import Static

import edge
from edge.compare.result import Comparison
from edge.compare.tokenized_text import TokenizedText
from edge.compare.variants import ChosenVariant, OpenVariant
from edge.laws.result import LawResult
from edge.picture.units import show_error
from edge.variant import Variant
from edge.watch import Watch
from models.errors import MisuseError
from models.zoo import zoo_names
from tests.edge.report.example_traces import made_comparison
from tests.tui.app_driver import PATIENCE_S, AppDriver, lines_of, running_app
from tests.tui.fake_model import FakeModel, FakeModels, small_spec
from tui.app_factory import app_on_model, app_on_trace
from tui.help import sections
from tui.jobs.compare import CompareEngines, cost_text, engine_sets, passage_of
from tui.jobs.job import JobContext, JobInterrupted, ModelOnEngine
from tui.jobs.laws import CheckLaws
from tui.messages import EnginesCompared, JobProgress, LawChecked, LawsQueued
from tui.parity_table import as_table, error_level, layer_lines, mark_of, site_lines
from tui.screens.error import ErrorScreen
from tui.view_state import ModelSummary
from tui.views.parity import OF_ONE_MODEL, ParityView
from tui.widgets.parity.law_list import LawList
from tui.widgets.parity.site_matrix import SiteMatrix

PROMPT = "Once upon a time there was"
WIDE = (200, 60)

REAL = pytest.mark.skipif("fable-relu" not in zoo_names(), reason="fable-relu is not in the zoo of this checkout")


class FakeCompare:
    """Compares nothing; with `lasts`, runs until it is stopped."""

    def __init__(self, lasts: bool = False) -> None:
        self.lasts, self.is_under_way = lasts, Event()
        self.engines: tuple[str, ...] = ()
        self.passage: TokenizedText | None = None
        self.open = 0

    def chosen(self, models: Sequence[str], engines: Sequence[str], threads: int | None) -> list[ChosenVariant]:
        self.engines = tuple(engines)
        return [ChosenVariant(engine, Variant(Path("fake"), engine), small_spec(), None) for engine in engines]

    @contextmanager
    def opened(self, chosen: Sequence[ChosenVariant], progress: Callable[[str], None]) -> Iterator[list[OpenVariant]]:
        self.open += 1
        try:
            yield []
        finally:
            self.open -= 1

    def compare(
        self,
        members: list[OpenVariant],
        passage: TokenizedText,
        *,
        rounds: int,
        tolerance: None,
        progress: Callable[[str], None],
    ) -> Comparison:
        self.passage = passage
        progress("looking inside layers 0 to 2")
        self.is_under_way.set()
        while self.lasts:
            progress("reading window 1 of 1")
        return made_comparison(self.engines)


def faked(monkeypatch: pytest.MonkeyPatch, fake: FakeCompare) -> FakeCompare:
    monkeypatch.setattr("tui.jobs.compare.chosen_variants", fake.chosen)
    monkeypatch.setattr("tui.jobs.compare.opened", fake.opened)
    monkeypatch.setattr("tui.jobs.compare.compare", fake.compare)
    monkeypatch.setattr("tui.views.parity.installed_engines", lambda: ("onnx", "torch", "mlx"))
    return fake


@pytest.fixture
def compares(monkeypatch: pytest.MonkeyPatch) -> FakeCompare:
    return faked(monkeypatch, FakeCompare())


@pytest.fixture
def endless_claim(monkeypatch: pytest.MonkeyPatch) -> FakeCompare:
    return faked(monkeypatch, FakeCompare(lasts=True))


def view_of(ui: AppDriver) -> ParityView:
    return ui.main.query_one(ParityView)


def matrix_of(ui: AppDriver) -> SiteMatrix:
    return ui.main.query_one("#sites", SiteMatrix)


async def open_parity(ui: AppDriver, comparison: Comparison | None = None) -> None:
    ui.main.shown_view.focus_pane()
    await ui.press("5")
    if comparison is not None:
        ui.main.post_message(EnginesCompared(comparison))
        await ui.until(lambda: ui.main.state.comparison is not None, "the comparison")


def offered(ui: AppDriver) -> set[str]:
    return {one.binding.action for one in ui.main.active_bindings.values() if one.enabled}


# ---- what is compared -----------------------------------------------------------------------------------------------


def test_marks_distinguish_within_near_and_over_the_tolerance() -> None:
    found = [error_level(error, 1e-3) for error in (0.0, 1e-3, 1.01e-3, 1e-2, 1.01e-2, math.nan, math.inf)]
    assert found == ["within", "within", "near", "near", "over", "over", "over"]
    assert len({mark_of(level) for level in found}) == 3, "two verdicts have one mark"


def test_the_reference_is_torch_or_onnx_where_torch_is_not_installed() -> None:
    first, *others = engine_sets("onnx", ("onnx", "torch", "mlx"))
    assert first.engines == ("torch", "onnx", "mlx", "onnx:int4", "mlx:int4")
    assert [one.engines[0] for one in others] == ["torch", "torch"]
    assert {"onnx:int8", "mlx:int8"} < set(others[0].engines) and others[1].engines == ("torch", "onnx", "mlx")
    assert engine_sets("onnx", ("onnx",))[0].engines == ("onnx", "onnx:int4")
    assert all(one.others for one in engine_sets("onnx", ("onnx",))), "an engine is to be compared with nothing"
    assert engine_sets("mlx:bf16", ("onnx", "mlx"))[0].engines[:3] == ("onnx", "mlx", "mlx:bf16"), (
        "the one at hand is left"
    )


async def test_before_it_is_measured_the_view_says_what_will_be_compared_and_what_it_takes(
    compares: FakeCompare,
) -> None:
    for size in ((80, 24), WIDE):
        async with running_app(size=size) as ui:
            await open_parity(ui)
            words = " ".join(ui.shown("#sites").split())
            for part in ("press m to compare onnx, mlx, onnx:int4, mlx:int4 with torch", "expected: about", "weights"):
                assert part in words, f"{part!r} is not said at {size} before it starts:\n{words}"
            assert "the bundled text" in words
            await ui.press("a")
            assert "onnx:int8" in ui.shown("#sites"), "a does not offer other engines"


async def test_stored_codes_have_one_set_of_engines_and_no_other_is_offered(compares: FakeCompare) -> None:
    async with running_app() as ui:
        await open_parity(ui)
        model = ui.main.state.model
        assert model is not None
        ui.main.state = replace(ui.main.state, model=replace(model, engine="onnx:mixed", stored="mixed"))
        await ui.idle()
        words = " ".join(ui.shown("#sites").split())
        assert "press m to compare onnx:mixed, mlx:mixed, onnx:mixed-acc0 with torch:mixed" in words, words
        assert "other engines" not in words, words


async def test_m_compares_the_tokens_that_show(compares: FakeCompare) -> None:
    async with running_app(size=WIDE) as ui:
        await ui.run(PROMPT)
        await open_parity(ui)
        await ui.press("m")
        await ui.until(lambda: ui.main.state.comparison is not None, "the comparison")
        await ui.idle()
        assert compares.engines == ("torch", "onnx", "mlx", "onnx:int4", "mlx:int4")
        assert compares.passage is not None and compares.passage.ids == ui.shown_run.trace.tokens
        assert compares.passage.source.startswith(PROMPT[:20]), f"the text is called {compares.passage.source!r}"
        assert compares.open == 0, "processes stayed open"


async def test_without_a_text_to_compare_on_a_message_says_what_to_do(compares: FakeCompare) -> None:
    async with running_app() as ui:
        await open_parity(ui)
        await ui.press("m")
        await ui.until(lambda: isinstance(ui.app.screen, ErrorScreen), "the refusal")
        assert "run token ids first" in str(ui.app.screen.query_one(Static).render())


async def test_escape_stops_a_comparison_and_says_how_to_begin_again(endless_claim: FakeCompare) -> None:
    async with running_app(size=WIDE) as ui:
        await ui.run(PROMPT)
        await open_parity(ui)
        await ui.press("m")
        await ui.until(lambda: "reading window" in ui.shown("#sites"), "word of how far it is")
        assert "escape stops it" in ui.shown("#sites")
        await ui.press("escape")
        await ui.idle()
        assert endless_claim.open == 0, "processes outlived the comparison"
        assert ui.main.state.comparison is None and "press m" in ui.shown("#sites"), ui.shown("#sites")


# ---- the matrix -----------------------------------------------------------------------------------------------------


async def test_every_site_of_every_engine_has_its_number_and_mark_and_the_first_difference_is_named() -> None:
    found = made_comparison()
    async with running_app(size=WIDE) as ui:
        await open_parity(ui, found)
        lines = ui.shown("#sites").splitlines()
        assert "onnx:int4" in lines[0] and "tol. 5e-5" in lines[1], lines[:2]
        for site, error in found.variants[1].sites.items():
            line = next(line for line in lines if site in line)
            assert show_error(error) in line and "●" in line, f"{site} is wrong:\n{line}"
            assert ("○" in line) == ("◀" in line) == (site == "layers.1.ffn.neurons"), f"{site} is marked:\n{line}"
        firsts = str(ui.main.query_one("#firsts").render())
        assert "onnx:int4 at layers.1.ffn.neurons, token 4 ' king'; onnx within tolerance" in firsts, firsts
        assert "vs torch" in str(ui.main.query_one("#sites-pane").border_title)
        assert "50 tokens of the bundled text" in str(ui.main.query_one("#sites-pane").border_subtitle)


async def test_what_the_differences_come_to_has_its_units() -> None:
    async with running_app(size=WIDE) as ui:
        await open_parity(ui, made_comparison())
        picture = ui.shown("#summary")
        for words in (
            "KL p99, nats",
            "3.0e-12",
            "99.0%",
            "1, 1",
            "all",
            "3",
            "' queen'",
            "0.050 tie",
            "perplexity",
        ):
            assert words in picture, f"{words!r} is not in\n{picture}"


async def test_what_is_no_number_or_has_no_partner_says_so() -> None:
    found = made_comparison()
    first, second = found.variants
    lost = replace(second, sites=second.sites | {"layers.0.input": math.nan})
    lost.sites.pop("layers.0.attn.output")
    found = replace(found, variants=(first, lost))
    by_site = {line.title: line.cells[1] for line in site_lines(found)}
    assert "NaN" in by_site["layers.0.input"].text and by_site["layers.0.input"].level == "over"
    assert by_site["layers.0.attn.output"].text == "–"
    worst = {line.title: line.cells[1] for line in layer_lines(found)}
    assert worst["layer 0, largest"].level == "over", "a layer with a site that is no number counts as equal"


async def test_v_shows_one_line_a_layer_with_its_worst_site() -> None:
    async with running_app(size=WIDE) as ui:
        await open_parity(ui)
        assert "rows" not in offered(ui), "v is offered before there are rows"
        await open_parity(ui, made_comparison())
        await ui.press("v")
        picture = ui.shown("#sites")
        assert "layer 1, largest" in picture and "layers.1" not in picture and "0.020 ○◀" in picture, picture
        assert "largest error per layer" in str(ui.main.query_one("#sites-pane").border_title)
        await ui.press("v")
        assert "layers.1.ffn.neurons" in ui.shown("#sites")


async def test_a_row_chooses_its_layer_and_a_layer_its_row() -> None:
    async with running_app(size=WIDE) as ui:
        await ui.run(PROMPT)
        await open_parity(ui, made_comparison())
        matrix = matrix_of(ui)
        await ui.press("home", "down", "down")
        assert (matrix.chosen, ui.main.state.selection.layer) == (2, 0)
        await ui.press("down")
        assert ui.main.state.selection.layer == 1, "the next layer's row does not choose the layer"
        await ui.press("j")
        assert matrix.chosen_line is not None and matrix.chosen_line.title == "layers.0.input", matrix.chosen_line
        await ui.pilot.click(matrix, offset=(4, matrix.ruler_lines + 5))
        await ui.pilot.pause()
        assert ui.main.state.selection.layer == 1 and matrix.chosen == 5, "a click does not choose"
        await ui.press("v")
        assert matrix.chosen_line is not None and matrix.chosen_line.layer == 1, "the layer was lost with the rows"


async def test_a_wide_comparison_scrolls_to_its_last_engine_at_80_columns() -> None:
    names = ("torch", "onnx", "mlx", "onnx:int8", "mlx:int8", "onnx:int4", "mlx:int4", "onnx+cuda:int4")
    async with running_app() as ui:
        await open_parity(ui, made_comparison(names))
        assert "onnx+cuda:int4" not in ui.shown("#sites")
        await ui.press(*["right"] * 8)
        picture = ui.shown("#sites")
        assert "onnx+cuda:int4" in picture and "layers.0" in picture, f"columns cannot be reached:\n{picture}"


async def test_the_view_as_rows_has_every_error_and_tolerance() -> None:
    found = made_comparison()
    async with running_app() as ui:
        assert view_of(ui).table(ui.main.state) is None, "an empty view has rows"
        await open_parity(ui, found)
        table = view_of(ui).table(ui.main.state)
    assert table is not None and table == as_table(found)
    assert table.csv().splitlines()[:2] == ["site,onnx,onnx:int4", "tolerance,5e-05,5e-05"]
    assert ["layers.1.ffn.neurons", 2e-7, 0.02] in [list(row) for row in table.rows]


async def test_another_model_forgets_what_was_compared() -> None:
    async with running_app() as ui:
        await open_parity(ui, made_comparison())
        ui.main.post_message(LawChecked("onnx", law_found(1)))
        await ui.until(lambda: bool(ui.main.state.laws), "the law")
        ui.main.state = replace(ui.main.state, model=replace(ui.main.state.model, source="other"))  # type: ignore[type-var]
        await ui.press("e")
        await ui.until(lambda: ui.main.state.comparison is None, "the other model")
        assert not ui.main.state.laws and "press m" in ui.shown("#sites")


async def test_a_saved_trace_offers_nothing_that_needs_a_model() -> None:
    model = FakeModel()
    app = app_on_trace(model.run(ids=model.tokenizer.encode(PROMPT), max_new_tokens=5, watch=Watch.nothing()))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("5")
        await pilot.pause()
        pictures = [" ".join(lines_of(app.main.query_one(f"#{name}")).split()) for name in ("sites", "laws")]
        assert "has no model to compare" in pictures[0] and "a saved trace has none" in pictures[1], pictures
        actions = {one.binding.action for one in app.main.active_bindings.values() if one.enabled}
        assert not actions & {"measure", "engine_set", "rows", "law", "laws"}, f"a saved trace offers {actions}"


@pytest.mark.parametrize("size", [(80, 24), WIDE, (60, 18)])
async def test_it_draws_without_color(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with running_app(size=size) as ui:
        await open_parity(ui)
        await open_parity(ui, made_comparison())
        ui.main.post_message(LawChecked("onnx", law_found(1, passed=False)))
        await ui.press("tab", "tab")
        assert "○" in ui.shown("#laws"), "a broken law is told by its color alone"


async def test_every_pane_is_explained() -> None:
    assert set(ParityView.tabs) <= set(sections()), "a pane has no help"


# ---- laws -----------------------------------------------------------------------------------------------------------


def law_found(number: int, passed: bool | None = True) -> LawResult:
    return LawResult(number, "parts sum up", 2e-7, 5e-5, passed, "layers.1.output, token 3 ' [bold]'", 9)


def laws_of(ui: AppDriver) -> LawList:
    return ui.main.query_one(LawList)


async def open_laws(ui: AppDriver) -> None:
    await open_parity(ui)
    view_of(ui).pane = "laws"
    view_of(ui).focus_pane()
    await ui.pilot.pause()


async def test_every_law_shows_with_its_verdict_number_and_tolerance() -> None:
    async with running_app() as ui:
        await open_laws(ui)
        assert ui.shown("#laws").count("not checked") == 8, ui.shown("#laws")
        for result in (law_found(1), law_found(3, passed=False), law_found(4, passed=None)):
            ui.main.post_message(LawChecked("onnx", result))
        ui.main.post_message(LawChecked("mlx", law_found(2)))
        await ui.until(lambda: len(ui.main.state.laws) == 2, "the laws")
        one, two, three, four = ui.shown("#laws").splitlines()[1:5]
        assert "●" in one and "pass" in one and "2.0e-7" in one and "5e-5" in one, one
        assert "not checked" in two, f"what was found on mlx is said of onnx:\n{two}"
        assert "○" in three and "fail" in three and "skipped" in four, (three, four)
        assert "1 pass, 1 fail" in str(ui.main.query_one("#laws-pane").border_subtitle)


async def test_a_chosen_law_says_how_it_is_checked_and_where_it_breaks() -> None:
    async with running_app() as ui:
        await open_laws(ui)
        assert "enter checks it" in str(ui.main.query_one("#law-about").render())
        ui.main.post_message(LawChecked("onnx", law_found(3, passed=False)))
        await ui.press("down", "down")
        about = str(ui.main.query_one("#law-about").render())
        assert "first over tolerance: layers.1.output, token 3 ' [bold]' (9 tokens)" in about, about
        await ui.pilot.click(laws_of(ui), offset=(8, 5))
        await ui.pilot.pause()
        assert laws_of(ui).chosen == 5, "a click does not choose a law"
        await open_parity(ui, made_comparison())
        about = str(ui.main.query_one("#law-about").render())
        assert "onnx at " in about, f"law 5 is not of the comparison: {about}"
        assert "not checked: onnx:int4 has other weights than torch" in about, about


async def test_a_model_without_weights_says_why_no_law_can_be_checked() -> None:
    async with running_app() as ui:
        await open_laws(ui)
        await ui.press("enter")
        await ui.until(lambda: isinstance(ui.app.screen, ErrorScreen), "the refusal")
        assert "no law can be checked" in str(ui.app.screen.query_one(Static).render())


async def test_laws_under_way_and_those_that_wait_say_so() -> None:
    async with running_app() as ui:
        await open_laws(ui)
        ui.main.post_message(LawsQueued((2, 3)))
        await ui.until(lambda: bool(ui.main.state.laws_queued), "the laws under way")
        _, two, three, *_ = ui.shown("#laws").splitlines()[1:]
        assert "checking …" in two and "waiting" in three, (two, three)


@REAL
async def test_all_laws_hold_on_the_zoo() -> None:
    app, runner = app_on_model(
        lambda model, engine, progress: edge.load(model, engine), ModelOnEngine("fable-relu", "onnx"), ("onnx",)
    )
    try:
        async with app.run_test(size=WIDE) as pilot:
            ui = AppDriver(app, app.main, pilot, FakeModels(), runner)
            await ui.until(lambda: app.main.state.model is not None, "the model")
            await open_laws(ui)
            await ui.press("b")
            await ui.until(lambda: len(app.main.state.laws.get("onnx", {})) == len(OF_ONE_MODEL), "the laws")
            found = app.main.state.laws["onnx"]
            assert all(one.passed for one in found.values()), (
                f"fail: {[one for one in found.values() if not one.passed]}"
            )
            assert "largest error: layers." in ui.shown("#laws"), "room for places is not used"
    finally:
        assert runner.close(PATIENCE_S), "the runner's thread outlived the app"


class Recorder:
    """A context in which the job is stopped once a message says that it is far enough."""

    def __init__(self, model: edge.Model | None, is_enough: Callable[[Message], bool] = lambda _: False) -> None:
        self.messages: list[Message] = []
        self.is_enough = is_enough
        self.context = JobContext(FakeModels().open, self.post)
        if model is not None:
            self.context.at = ModelOnEngine("fable-relu", "onnx")
            self.context.models[self.context.at] = model

    def post(self, message: Message) -> None:
        self.messages.append(message)
        if self.is_enough(message):
            self.context.interrupted.set()


@REAL
def test_a_stopped_check_keeps_what_it_found_and_says_that_it_ended() -> None:
    with edge.load("fable-relu", "onnx") as model:
        reported = Recorder(model, lambda message: isinstance(message, LawChecked))
        with pytest.raises(JobInterrupted):
            CheckLaws((1, 2, 3), (1, 2, 3, 4, 5)).work(reported.context)
    checked = [message.result.number for message in reported.messages if isinstance(message, LawChecked)]
    assert checked == [1], f"checked were {checked}"
    assert reported.messages[-1] == LawsQueued(()), "nobody hears that it ended"


def test_stopping_a_comparison_kills_its_processes(byte_llama: Path) -> None:
    running: list[int] = []

    def is_enough(message: Message) -> bool:
        running.append(len(multiprocessing.active_children()))
        return isinstance(message, JobProgress) and "rounds of each variant" in message.work

    reported = Recorder(None, is_enough)
    with pytest.raises(JobInterrupted):
        CompareEngines(str(byte_llama), ("onnx", "onnx:int8"), None).work(reported.context)
    assert running[-1] == 2, "it was not stopped while both engines were open"
    assert not multiprocessing.active_children(), "processes outlived the comparison that was stopped"


def test_weights_that_are_stored_quantized_are_compared_as_they_are() -> None:
    (only,) = engine_sets("onnx:mixed", ("onnx", "torch", "mlx"), "mixed")
    assert only.engines == ("torch:mixed", "onnx:mixed", "mlx:mixed", "onnx:mixed-acc0")
    assert engine_sets("onnx:int4", ("onnx",), "int4")[0].engines == ("onnx:int4", "onnx:int4-acc0")


def test_what_it_takes_grows_with_engines_and_tokens() -> None:
    model = ModelSummary("fable-relu", "fable-relu", "onnx", small_spec(), 10_000_000, 2, True)
    few, more = (cost_text(model, engines, 500, 1e7) for engines in (("torch", "onnx"), ("torch", "onnx", "mlx:int4")))
    assert few == "about 15 s; 2 processes with about 80.0 MB of weights", few
    assert "3 processes with about 86.0 MB" in more, more


def test_a_trace_too_short_to_compare_gives_way_to_a_text() -> None:
    model = FakeModel()
    trace = model.run(ids=model.tokenizer.encode("a b"), max_new_tokens=0, watch=Watch.nothing())
    with pytest.raises(MisuseError, match="no tokenizer"):
        passage_of(trace, ChosenVariant("onnx", Variant(Path("fake"), "onnx"), small_spec(), None))
