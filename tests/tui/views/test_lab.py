"""The lab on the screen: claims are tested and stopped on request, and every number found can be read."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from threading import Event

import pytest
from textual.widget import Widget

import edge
from edge.lab.claim import Finding, not_applicable
from edge.lab.effect import Verdict
from edge.lab.registry import EXPERIMENTS
from edge.watch import Watch
from models.progress import Progress
from models.zoo import zoo_names
from tests.edge.report.example_lab import made_effect, made_finding, made_result
from tests.edge.report.example_traces import HOSTILE
from tests.tui.app_driver import PATIENCE_S, AppDriver, running_app
from tests.tui.example_claims import endless_claim, experiment, failing_claim, passing_claim
from tests.tui.fake_model import FakeModel, FakeModels
from tui.app_factory import app_on_model, app_on_trace
from tui.help import sections
from tui.jobs.job import ModelOnEngine
from tui.jobs.lab import known_experiments
from tui.messages import ClaimsQueued, ClaimTested
from tui.screens.error import ErrorScreen
from tui.views.lab import LabView
from tui.widgets.lab.claim_list import ClaimList
from tui.widgets.lab.curve_plot import CurvePlot
from tui.widgets.lab.number_grid import NumberGrid

REAL = pytest.mark.skipif("fable-relu" not in zoo_names(), reason="fable-relu is not in the zoo of this checkout")
ZOO = ModelOnEngine("fable-relu", "onnx")
PANES = tuple(LabView.tabs)


def open_zoo(model: str, engine: str, progress: Progress) -> edge.Model:
    return edge.load(model, engine, threads=1, progress=progress)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts other claims in place of the lab's."""
    return lambda *experiments: monkeypatch.setattr("tui.views.lab.known_experiments", lambda: experiments)


async def open_lab(ui: AppDriver) -> LabView:
    ui.main.shown_view.focus_pane()
    await ui.pilot.pause()
    await ui.press("6")
    view = ui.main.shown_view
    assert isinstance(view, LabView)
    return view


@asynccontextmanager
async def driven_zoo(size: tuple[int, int] = (80, 24)) -> AsyncIterator[AppDriver]:
    """The app on a model of the zoo."""
    app, runner = app_on_model(open_zoo, ZOO, ("onnx",))
    try:
        async with app.run_test(size=size) as pilot:
            ui = AppDriver(app, app.main, pilot, FakeModels(), runner)
            await ui.until(lambda: app.main.state.model is not None, "the model to load")
            await ui.idle()
            yield ui
    finally:
        assert runner.close(PATIENCE_S), "the runner's thread outlived the app"


async def show_findings(ui: AppDriver, *findings: Finding) -> None:
    """Shows findings for the first claims of the lab, as if they had been tested."""
    for claim, finding in zip(known_experiments(), findings, strict=False):
        ui.main.post_message(ClaimTested(made_result(claim.key, finding)))
    await ui.pilot.pause()


def displayed(view: LabView, kind: type[Widget]) -> bool:
    return bool(view.query_one(kind).display)


# ---- what is shown --------------------------------------------------------------------------------------


async def test_every_claim_is_listed_with_its_key_and_where_it_stands() -> None:
    async with running_app(size=(200, 60)) as ui:
        await open_lab(ui)
        text = ui.shown("#claims")
        for claim in EXPERIMENTS:
            assert f"◌ {claim.key}  {claim.title}" in text, f"{claim.key} is not listed in\n{text}"
        assert text.count("not tested") == len(EXPERIMENTS)
        assert "R  routing to experts" in text
        about = " ".join(ui.shown("#about").split())
        for reported in (EXPERIMENTS[0].title, EXPERIMENTS[0].question, EXPERIMENTS[0].rule):
            assert reported in about, f"'{reported}' is not told of F1"
        found = " ".join(ui.shown("#results").split())
        assert "512 tokens of the bundled text" in found and "B until another model" in found, "its cost is not told"


async def test_verdicts_are_words_and_marks() -> None:
    async with running_app(size=(200, 60)) as ui:
        await open_lab(ui)
        open_one = Finding("who knows", (made_effect(0.1),))
        await show_findings(
            ui, made_finding(), Finding("no", (made_effect(0.01, 0.01),)), not_applicable("too short a text"), open_one
        )
        ui.main.post_message(ClaimsQueued(("F5", "F6")))
        await ui.pilot.pause()
        lines = {key: line for line in ui.shown("#claims").split("\n") for key in line.split()[:3]}
        for key, mark, words in (
            ("F1", "●", "supported"),
            ("F2", "○", "not supported"),
            ("F3", "–", "not applicable"),
            ("F4", "◐", "inconclusive"),
            ("F5", "…", "testing …"),
            ("F6", "◌", "waiting"),
            ("A1", "◌", "not tested"),
        ):
            assert mark in lines[key] and words in lines[key], f"{key} stands as '{lines[key]}'"
        assert "2.50 s" in lines["F1"], "what testing it took is not told"


async def test_findings_are_shown_as_text_numbers_and_figures() -> None:
    async with running_app(size=(200, 60)) as ui:
        view = await open_lab(ui)
        await show_findings(ui, made_finding())
        found = ui.shown("#results")
        for reported in (
            "34.0%",
            "[20.0%, 48.0%]",
            "above 10.0%",
            "the lead (a",
            "Found a thing.",
            "42.1%",
            "0.426 bits",
            "−0.500 nats",
            "12.3 ms",
            "1.50 GB",
            "193",
            "baseline",
        ):
            assert reported in found, f"'{reported}' is not in\n{found}"
        assert displayed(view, CurvePlot) and "↑ bits" in ui.shown("#plot")
        await ui.press("f")
        assert displayed(view, NumberGrid) and not displayed(view, CurvePlot), "f did not show the next figure"
        assert view.query_one(NumberGrid).description in str(view.query_one("#figure-pane").border_subtitle)
        await ui.press("b")
        assert displayed(view, CurvePlot) and not displayed(view, NumberGrid)
        assert "15 of 16 claims not tested" in str(view.query_one("#contrast-pane").border_title)
        assert "no number of this table" in ui.shown("#contrast")


async def test_another_claim_is_chosen_by_arrows_by_click_and_from_any_pane() -> None:
    async with running_app(size=(200, 60)) as ui:
        view = await open_lab(ui)
        claims = view.query_one(ClaimList)
        await ui.press("down", "down")
        assert claims.chosen == "F3" and EXPERIMENTS[2].title in ui.shown("#about")
        await ui.press("home")
        assert claims.chosen == "F1"
        await ui.pilot.click(ClaimList, offset=(10, 4))
        await ui.pilot.pause()
        assert claims.chosen == "F4"
        await ui.press("tab", "x")
        assert ui.app.focused is view.query_one("#about") and claims.chosen == "F5"
        await ui.press("z", "z")
        assert claims.chosen == "F3"


@pytest.mark.parametrize(("size", "seen"), [((80, 24), 1), ((118, 34), 2), ((200, 60), 5)])
async def test_panes_fold_as_there_is_room(size: tuple[int, int], seen: int) -> None:
    async with running_app(size=size) as ui:
        view = await open_lab(ui)
        await show_findings(ui, made_finding())
        for name in PANES:
            shown = [pane for pane in PANES if view.query_one(f"#{pane}-pane").display]
            assert len(shown) == seen and view.pane in shown, f"{shown} show while {view.pane} is at hand"
            assert view.pane == name and view.query_one(f"#{name}-pane").has_focus_within
            await ui.press("tab")


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (60, 18)])
@pytest.mark.parametrize("color", [True, False])
async def test_any_text_is_shown_as_it_is(
    size: tuple[int, int], color: bool, monkeypatch: pytest.MonkeyPatch, known: Callable[..., None]
) -> None:
    if not color:
        monkeypatch.setenv("NO_COLOR", "1")
    word = " ".join(HOSTILE) + " [bold]王 \U0001f600"
    known(experiment(f"F1{word}", lambda _: made_finding()), passing_claim("A1"))
    async with running_app(size=size) as ui:
        await open_lab(ui)
        ui.main.post_message(ClaimTested(made_result("F1", made_finding(word=word), word)))
        await ui.pilot.pause()
        for _ in PANES:
            shown = ui.app.export_screenshot()
            assert "\x1b" not in shown and "\x00" not in shown
            await ui.press("tab", "f")


async def test_every_pane_is_explained() -> None:
    assert set(PANES) <= sections().keys()


# ---- testing ---------------------------------------------------------------------------------------------


@REAL
async def test_enter_tests_the_chosen_claim_and_the_footer_says_so(known: Callable[..., None]) -> None:
    tested: list[str] = []
    known(passing_claim("F1", tested), passing_claim("A1", tested))
    async with driven_zoo() as ui:
        view = await open_lab(ui)
        await ui.press("down", "enter")
        await ui.until(lambda: "A1" in ui.main.state.claim_results, "the claim to be tested")
        await ui.idle()
        assert tested == ["A1"] and ui.main.state.claims_queued == ()
        assert "● A1" in ui.shown("#claims") and "◌ F1" in ui.shown("#claims")
        table = view.table(ui.main.state)
        assert table is not None and len(table.rows) == len(made_finding().numbers) + 1, "not every number is a row"


@REAL
async def test_all_are_tested_one_after_another_and_end_in_attention_beside_the_ffn(known: Callable[..., None]) -> None:
    tested: list[str] = []
    known(passing_claim("F1", tested), passing_claim("A1", tested), passing_claim("S1", tested))
    async with driven_zoo() as ui:
        view = await open_lab(ui)
        await ui.press("space")
        await ui.until(lambda: "F1" in ui.main.state.claim_results, "the first claim")
        await ui.idle()
        await ui.press("a")
        await ui.until(lambda: len(ui.main.state.claim_results) == 3, "all claims")
        await ui.idle()
        assert tested == ["F1", "A1", "S1"], "a claim was tested again that was tested before"
        assert view.pane == "contrast" and "no number of this table" in ui.shown("#contrast")
        await ui.press("a")
        await ui.until(lambda: len(tested) == 6, "all claims again")
        await ui.idle()


@REAL
async def test_escape_stops_and_keeps_what_was_found(known: Callable[..., None]) -> None:
    is_under_way, tested = Event(), list[str]()
    known(passing_claim("F1", tested), endless_claim("F2", is_under_way), passing_claim("F3", tested))
    async with driven_zoo() as ui:
        view = await open_lab(ui)
        await ui.press("a")
        await ui.until(
            lambda: is_under_way.is_set() and ui.main.state.claims_queued == ("F2", "F3"), "the second claim"
        )
        assert view.check_action("test", ()) is None, "a claim can be tested while others are"
        assert "testing …" in ui.shown("#claims") and "waiting" in ui.shown("#claims")
        await ui.press("escape")
        await ui.until(lambda: ui.main.state.claims_queued == (), "the lab to stop")
        await ui.idle()
        assert list(ui.main.state.claim_results) == ["F1"] == tested
        assert view.check_action("test", ()) is True and "not tested" in ui.shown("#claims")
        assert view.pane == "claims", "a lab that was stopped went to its ending"


@REAL
async def test_a_claim_that_fails_is_reported_and_stops_no_other(known: Callable[..., None]) -> None:
    known(failing_claim("F1"), passing_claim("A1"))
    async with driven_zoo() as ui:
        await open_lab(ui)
        await ui.press("a")
        await ui.until(lambda: isinstance(ui.app.screen, ErrorScreen), "a message")
        assert list(ui.main.state.claim_results) == ["A1"] and ui.main.state.claims_queued == ()


@REAL
async def test_a_claim_of_the_lab_is_tested_on_the_bundled_model() -> None:
    async with driven_zoo((200, 60)) as ui:
        await open_lab(ui)
        await ui.press("down", "enter")
        await ui.until(lambda: "F2" in ui.main.state.claim_results, "F2 to be tested")
        await ui.idle()
        tested = ui.main.state.claim_results["F2"]
        assert tested.finding.verdict == Verdict.SUPPORTED
        assert "● F2" in ui.shown("#claims") and "supported" in ui.shown("#claims")
        assert tested.finding.curves[0].series[0].name in ui.shown("#plot")
        note = str(ui.main.shown_view.query_one("#results-pane").border_subtitle)
        assert "640 tokens of text; edge lab uses 2,048" in note


# ---- where nothing can be tested ------------------------------------------------------------------------


async def test_a_model_without_weights_shows_a_message() -> None:
    async with running_app() as ui:
        await open_lab(ui)
        await ui.press("enter")
        await ui.until(lambda: isinstance(ui.app.screen, ErrorScreen), "a message")
        assert ui.main.state.claims_queued == (), "a claim that could not be tested is said to be under way"


async def test_a_saved_trace_says_which_command_tests_claims() -> None:
    model = FakeModel()
    app = app_on_trace(model.trace(model.tokenizer.encode("a king"), 2, Watch.all()))
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.pause()
        await pilot.press("6")
        await pilot.pause()
        view = app.main.shown_view
        assert isinstance(view, LabView) and view.check_action("test", ()) is None
        assert "edge lab MODEL" in str(view.query_one("#results").notice)  # type: ignore[attr-defined]
        assert view.table(app.main.state) is None


async def test_a_model_without_a_tokenizer_is_not_offered_what_it_cannot_do() -> None:
    fake_models = FakeModels()
    fake_models.tokenizer = None  # type: ignore[assignment]
    async with running_app(fake_models) as ui:
        view = await open_lab(ui)
        assert view.check_action("test", ()) is None
        await ui.press("tab", "tab")
        assert "no tokenizer" in " ".join(ui.shown("#results").split())
