"""Edits: named, listed, shown alone or together, never credited with what others did, cleared where they cannot be."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

import edge
from edge.change import Edit
from edge.edits import Ablate, ScaleHead, ScaleNeuron
from edge.insight.prediction_change import read_run_change
from edge.picture.units import show_number
from edge.trace import open_trace
from models.progress import Progress
from models.zoo import zoo_folder
from tests.tui.app_driver import PATIENCE_S, AppDriver, running_app
from tests.tui.drawn_lines import check_lines
from tests.tui.fake_model import FakeModel, FakeModels
from tests.tui.views.test_ffn import WeightedModels
from tui.app_factory import app_on_model, app_on_trace
from tui.command_palette import commands_of
from tui.comparison_request import ComparisonRequest
from tui.edit_names import edits_that_fit
from tui.jobs.job import JobContext, JobRequested, ModelOnEngine
from tui.jobs.load import Load
from tui.messages import ComparedRunReady, EditToggled
from tui.screens.compare import Compared
from tui.screens.edits import EditsScreen
from tui.screens.error import ErrorScreen
from tui.view_state import MeasuredRun
from tui.views.all_views import VIEWS
from tui.views.prediction_change import EffectLine
from tui.widgets.attention.attention_map import AttentionMap
from tui.widgets.attention.head_grid import HeadGrid
from tui.widgets.change_bars import ChangeBars
from tui.widgets.choice_list import ChoiceList
from tui.widgets.ffn.neuron_list import NeuronList
from tui.widgets.layers.layer_table import LayerTable
from tui.widgets.sparsity_map import SparsityMap

PROMPT = "Once upon a time there was a king who had"
HEAD, NEURON, FFN = ScaleHead(0, 1, 0.0), ScaleNeuron(1, 3, 0.0), Ablate("layers.1.ffn")
THREE = "head 0.1 ablated", "neuron 1.3 ablated", "FFN of layer 1 ablated"


@asynccontextmanager
async def editing(
    *edits: Edit, size: tuple[int, int] = (160, 50), fake_models: FakeModels | None = None
) -> AsyncIterator[AppDriver]:
    """A run, and the comparison run with edits."""
    async with running_app(fake_models or WeightedModels(), size) as ui:
        await ui.run(PROMPT)
        ui.main.shown_view.focus_pane()
        for edit in edits:
            await toggle(ui, edit)
        yield ui


async def toggle(ui: AppDriver, edit: Edit) -> None:
    ui.main.post_message(EditToggled(edit))
    await ui.pilot.pause()
    await answered(ui)


async def answered(ui: AppDriver) -> None:
    """Waits for the run with edits, and for what is read of it."""
    await ui.until(lambda: not ui.main.state.edits or ui.main.state.compared is not None, "the run with edits")
    await ui.idle()
    await ui.until(lambda: not ui.main.reader.is_busy, "the readings")
    await ui.pilot.pause()


def compared(ui: AppDriver) -> MeasuredRun:
    assert ui.main.state.compared is not None, "no run with edits stands beside"
    return ui.main.state.compared


def effect(ui: AppDriver) -> str:
    return str(ui.main.query_one(EffectLine).render())


def title(ui: AppDriver, pane: str) -> str:
    return str(ui.main.query_one(f"#{pane}-pane").border_title)


def effect_bits(ui: AppDriver, run: MeasuredRun | None = None) -> str:
    main, other = ui.shown_run, run or compared(ui)
    assert main.weights is not None and other.weights is not None
    token = ui.main.state.selection.token
    shift = read_run_change(main.trace, main.weights, other.trace, other.weights, token)
    return f"KL {show_number(shift.bits)} bits"


# ---- names and the list ---------------------------------------------------------------------------------


def test_the_last_names_are_shown_where_not_all_have_room() -> None:
    assert edits_that_fit(THREE[:1], 60) == "1 edit: head 0.1 ablated"
    assert edits_that_fit(THREE, 80) == "3 edits: head 0.1 ablated · neuron 1.3 ablated · FFN of layer 1 ablated"
    assert edits_that_fit(THREE, 60) == "3 edits: … neuron 1.3 ablated · FFN of layer 1 ablated"
    assert edits_that_fit(THREE, 20) == "3 edits"


@pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=["small", "large"])
async def test_the_header_names_stacked_edits(size: tuple[int, int]) -> None:
    async with editing(HEAD, NEURON, FFN, size=size) as ui:
        header = ui.shown("HeaderBar").splitlines()[1]
        assert "3 edits (X):" in header and "FFN of layer 1 ablated" in header, header
        assert "head 0.1 ablated" in header or "…" in header, f"the first edit is left out without a word: {header}"
        assert "head 0.1 ablated" in header or size[0] < 200, header


async def test_the_list_removes_one_edit_shows_one_alone_and_clears_all() -> None:
    async with editing(HEAD, NEURON, size=(80, 24)) as ui:
        await ui.press("X")
        assert isinstance(ui.app.screen, EditsScreen), "X does not list the edits"
        reported = [str(option.prompt) for option in ui.app.screen.query_one(ChoiceList).options]
        assert [name for name in reported if "ablated" in name] == ["head 0.1 ablated", "neuron 1.3 ablated"], reported
        await ui.press("down", "enter")
        await answered(ui)
        assert compared(ui).trace.edits == ("head 0.1 ablated",), "enter does not show the effect of one alone"
        assert ui.main.state.edits == (HEAD, NEURON), "showing one alone removed the other"
        await ui.press("X", "down", "x")
        await answered(ui)
        assert ui.main.state.edits == (HEAD,), "x in the list does not remove the edit under the cursor"
        await ui.press("X", "u")
        assert ui.main.state.edits == () and ui.main.state.compared is None, "u in the list does not clear all"


async def test_keys_and_palette_clear_edits_only_while_any_are_on() -> None:
    async with editing() as ui:
        titles = {command.title for command in commands_of(ui.main)}
        assert not {name for name in titles if name.startswith("edits")}, "edits are offered while none are on"
        await toggle(ui, HEAD)
        await toggle(ui, NEURON)
        titles = {command.title for command in commands_of(ui.main)}
        wanted = {"edits: list them", "edits: clear edits", "edits: one edit", "edits: remove head 0.1 ablated"}
        assert wanted | {"edits: neuron 1.3 ablated alone"} <= titles, wanted - titles
        await ui.press("u")
        assert not ui.main.state.edits and ui.main.session.comparison is None
        assert not ui.main.query_one(EffectLine).display, "the line of effects stays without edits"


# ---- whose effect ---------------------------------------------------------------------------------------


async def test_the_effect_of_several_edits_is_credited_to_all_and_that_of_one_is_of_a_run_with_it_alone() -> None:
    async with editing(HEAD, NEURON) as ui:
        assert compared(ui).trace.edits == ("head 0.1 ablated", "neuron 1.3 ablated")
        assert "all 2 edits" in effect(ui) and effect_bits(ui) in effect(ui), effect(ui)
        assert "ablated" not in effect(ui), f"the effect of two edits is told as one's: {effect(ui)}"
        both = compared(ui)
        for edit in (HEAD, NEURON):
            await ui.press("i")
            await answered(ui)
            assert compared(ui).trace.edits == (str(edit),), "the run of one alone has other edits"
            assert f"{edit}, 1 of 2" in effect(ui) and effect_bits(ui) in effect(ui), effect(ui)
        await ui.press("i")
        await answered(ui)
        assert compared(ui).trace.edits == both.trace.edits and "all 2 edits" in effect(ui), (
            "i does not come back to all"
        )


async def test_while_a_run_with_more_edits_is_awaited_no_effect_shows() -> None:
    async with editing(HEAD) as ui:
        before = compared(ui)
        ui.main.edits.change(EditToggled(NEURON))
        assert ui.main.state.compared is None, "the effect of one edit stands under the names of two"
        assert "running with all 2 edits" in effect(ui), effect(ui)
        ui.main.on_compared_run_ready(ComparedRunReady(before))
        assert ui.main.state.compared is None, "a run that was wished for before the second edit is taken for theirs"
        await answered(ui)
        assert compared(ui).trace.edits == ("head 0.1 ablated", "neuron 1.3 ablated")


@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=["small", "large"])
async def test_every_view_says_what_edits_do_to_the_answer(size: tuple[int, int]) -> None:
    async with editing(HEAD, size=size) as ui:
        for number, name in enumerate(VIEWS, 1):
            await ui.press(str(number))
            line = ui.main.query_one(EffectLine)
            assert line.display and line.size.height == 1, f"{name} does not show the effect"
            assert "head 0.1 ablated" in effect(ui) and " → " in effect(ui), f"{name}: {effect(ui)}"
            check_lines(ui, f"{name} with an edit")


async def test_answers_before_and_after_stand_in_layers_attention_and_ffn() -> None:
    async with editing(HEAD, NEURON, size=(200, 60)) as ui:
        for key, bars, pane in (
            ("1", "#layers-view #prediction", "prediction"),
            ("2", "#attention-view #prediction", "prediction"),
        ):
            await ui.press(key)
            await answered(ui)
            grid = ui.main.query_one(bars, ChangeBars)
            assert grid.display and grid.words and grid.headings == ("without edits", "all 2 edits"), grid.headings
            assert "effect of all 2 edits" in str(ui.main.shown_view.query_one(f"#{pane}-pane").border_title)
            for word, line in zip(grid.words, lines(grid)[1:], strict=False):
                sign = "+" if word.after > word.before else "−"
                assert sign in line, f"the change of {word} is not told: {line!r}"
        await ui.press("3")
        await answered(ui)
        assert ui.main.query_one("#edited", ChangeBars).headings == ("without edits", "all 2 edits")


def lines(grid: ChangeBars) -> list[str]:
    return [grid.render_line(y).text for y in range(grid.size.height)]


# ---- attention ------------------------------------------------------------------------------------------


async def test_the_map_of_an_ablated_head_is_marked_and_no_equal_map_stands_beside_it() -> None:
    async with editing(size=(200, 60)) as ui:
        await ui.press("2", "j", "j", "j", "x")
        await answered(ui)
        chosen = ui.main.state.selection
        other, heads = ui.main.query_one("#comparison", AttentionMap), ui.main.query_one(HeadGrid)
        assert "ablated" in title(ui, "map"), title(ui, "map")
        assert heads.ablated == {(0, chosen.head)} and "×" in ui.shown("#heads"), "the grid does not mark the head"
        assert f"head 0.{chosen.head} is ablated" in other.notice and "above layer 0" in other.notice, other.notice
        await ui.press("l")
        assert "is the same with" in other.notice, f"a map that no edit can change shows as if it did: {other.notice!r}"
        await ui.press("k")
        assert other.notice == "" and "minus the run without edits" in title(ui, "comparison"), (
            "above the edit no difference shows"
        )
        own, edited = (run.trace.pattern(1, chosen.head + 1) for run in (ui.shown_run, compared(ui)))
        extreme = np.unravel_index(np.abs(edited - own).argmax(), own.shape)
        assert int(other.levels[extreme]) in (0, 31), "the second map is no difference"


async def test_a_ablates_the_attention_of_a_layer_and_all_its_heads_are_marked() -> None:
    async with editing(size=(120, 42)) as ui:
        await ui.press("2", "a")
        await answered(ui)
        layer, n_heads = ui.main.state.selection.layer, ui.shown_run.trace.spec.n_heads
        assert ui.main.state.edits == (Ablate(f"layers.{layer}.attn"),)
        assert ui.main.query_one(HeadGrid).ablated == {(layer, head) for head in range(n_heads)}


# ---- layers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=["small", "large"])
async def test_layers_say_what_each_sublayer_adds_otherwise(size: tuple[int, int]) -> None:
    async with editing(size=size) as ui:
        await ui.press("1", "z")
        await answered(ui)
        layer, token = ui.main.state.selection.layer, ui.main.state.selection.token
        assert ui.main.state.edits == (Ablate(f"layers.{layer}.ffn"),)
        table = ui.main.query_one(LayerTable)
        titles = [column.title for column in table.pages()[0]]
        assert titles[:4] == ["logit lens, p", "edited lens, p", "Δ attention", "Δ FFN"], titles
        for row in table.rows:
            for place, part in enumerate(("attn", "ffn")):
                before, after = (
                    run.trace.row(f"layers.{row.layer}.{part}.output", token) for run in (ui.shown_run, compared(ui))
                )
                want = np.linalg.norm(after - before) / np.linalg.norm(before)
                assert row.changes[place][0] == pytest.approx(want, rel=1e-5)
        assert table.rows[layer].changes[1][1] == "ablated" and f"{layer}×" in ui.shown("#layers")
        assert f"effect of FFN of layer {layer} ablated" in title(ui, "layers")


# ---- FFN ------------------------------------------------------------------------------------------------


async def test_neurons_stand_before_and_after_and_those_of_an_ablated_ffn_are_off() -> None:
    async with editing(size=(200, 60)) as ui:
        await ui.press("3")
        await answered(ui)
        grid = ui.main.query_one(NeuronList)
        await ui.until(lambda: bool(grid.neurons), "the memories")
        layer, token = ui.main.state.selection.layer, ui.main.state.selection.token
        await ui.press("j", "x", "k")
        await answered(ui)
        after = compared(ui).trace.neurons(layer)[token]
        np.testing.assert_array_equal(grid.after, after, err_msg="neurons with edits are not those of their run")
        assert "with edits" in ui.shown("#neurons").splitlines()[0]
        await ui.press("z")
        await answered(ui)
        assert grid.after is not None and not grid.after.any(), "neurons of an ablated FFN are shown on"
        rows = ui.shown("#neurons").splitlines()[1 : 1 + len(grid.neurons)]
        assert all("× ablated" in row and "→ 0.000" in row for row in rows if row.strip()), rows[:2]
        sparsity = ui.main.query_one("#ffn", SparsityMap)
        assert np.isnan(sparsity.shares[layer]).all() and f"{layer}×" in ui.shown("#ffn")
        assert "× ablated" in ui.shown("#ffn").splitlines()[1 + sparsity.flip(layer)], ui.shown("#ffn")


# ---- what ends edits ------------------------------------------------------------------------------------


async def test_edits_outlive_a_new_prompt_and_another_engine_of_the_model() -> None:
    async with editing(HEAD, NEURON, fake_models=FakeModels()) as ui:
        await ui.run("another prompt")
        await answered(ui)
        assert compared(ui).trace.tokens[:2] == ui.shown_run.trace.tokens[:2]
        assert compared(ui).trace.edits == ("head 0.1 ablated", "neuron 1.3 ablated"), "a new prompt lost the edits"
        ui.main.action_engine("torch")
        await ui.until(lambda: ui.shown_run.trace.engine == "torch", "the other engine")
        await answered(ui)
        assert compared(ui).trace.engine == "torch" and len(compared(ui).trace.edits) == 2, (
            "another engine lost the edits"
        )


async def stopped(ui: AppDriver) -> None:
    """A second edit is toggled, and escape pressed before its run has come."""
    ui.main.edits.change(EditToggled(NEURON))
    ui.main.action_stop()


async def another_model(ui: AppDriver) -> None:
    ui.main.post_message(JobRequested(Load(ModelOnEngine("other", "onnx"))))
    await ui.until(lambda: ui.main.session.target == ModelOnEngine("other", "onnx"), "the other model")


async def a_comparison(ui: AppDriver) -> None:
    ui.main.dialogs.compare_with(Compared(ComparisonRequest("torch", ModelOnEngine("fake", "torch"))))
    await ui.until(lambda: ui.main.state.compared is not None, "the other engine beside")


async def a_saved_trace(ui: AppDriver) -> None:
    fake = FakeModel()
    ids = fake.tokenizer.encode(PROMPT)
    ui.main.session.show_saved(fake.run(ids=ids, max_new_tokens=2, watch=edge.Watch.all()))


class Nothing:
    """A job that replaces another."""

    def work(self, context: JobContext) -> None:
        context.report("something else")


async def overtaken(ui: AppDriver) -> None:
    """A second edit is toggled, and another job wanted before its run has come."""
    ui.main.edits.change(EditToggled(NEURON))
    ui.main.on_job_requested(JobRequested(Nothing()))


async def failed(ui: AppDriver) -> None:
    """A second edit is toggled, and the model refuses to run it."""
    ui.fake_models.opened[0].holds = 1
    ui.main.edits.change(EditToggled(NEURON))
    await ui.until(lambda: isinstance(ui.app.screen, ErrorScreen), "the refusal")
    await ui.press("escape")


ENDS = (stopped, failed, overtaken, another_model, a_comparison, a_saved_trace)


@pytest.mark.parametrize("end", ENDS)
async def test_edits_that_cannot_stay_are_cleared_and_said_to_be(end: Callable[[AppDriver], object]) -> None:
    async with editing(HEAD) as ui:
        reported: list[str] = []
        ui.main.notify = lambda text, **_: reported.append(str(text))  # type: ignore[method-assign]
        await end(ui)  # type: ignore[misc]
        await ui.pilot.pause()
        await ui.idle()
        assert ui.main.state.edits == () and ui.main.state.alone is None
        assert any("head 0.1 ablated" in text for text in reported), f"nobody said that the edit is gone: {reported}"
        assert "ablated" not in ui.shown("HeaderBar")


async def test_an_edit_that_ends_a_comparison_says_so() -> None:
    async with editing() as ui:
        ui.main.session.run_comparison(ComparisonRequest("torch", ModelOnEngine("fake", "torch")))
        await ui.until(lambda: ui.main.state.compared is not None, "the other engine beside")
        reported: list[str] = []
        ui.main.notify = lambda text, **_: reported.append(str(text))  # type: ignore[method-assign]
        await toggle(ui, HEAD)
        assert any("torch" in text for text in reported), "the comparison ended without a word"


# ---- saved and written ----------------------------------------------------------------------------------


async def test_a_saved_run_with_edits_names_and_marks_them_and_takes_no_more(tmp_path: Path) -> None:
    edits = (ScaleHead(1, 2, 0.0), Ablate("layers.2.ffn"), ScaleNeuron(1, 3, 0.0))
    trace = FakeModel().run(ids=[0, 0, 0, 0], max_new_tokens=3, watch=edge.Watch.all(), edits=edits)
    app = app_on_trace(open_trace(trace.save(tmp_path / "edited.trace")))
    async with app.run_test(size=(120, 44)) as pilot:
        ui = AppDriver(app, app.main, pilot, FakeModels(), app.main.runner)
        await ui.idle()
        header, others = ui.shown("HeaderBar").splitlines()[1], edits[:1]
        assert "run with 3 edits: head 1.2 ablated · FFN of layer 2 ablated · neuron 1.3 ablated" in header, header
        await ui.press("2", "x")
        assert not ui.main.state.edits, "an edit is on where nothing can run"
        assert ui.main.query_one(HeadGrid).ablated == {(1, 2)}
        await ui.press("3", "k")
        assert "ablated" in ui.main.query_one(NeuronList).notice, ui.main.query_one(NeuronList).notice
        assert "× ablated" in ui.shown("#ffn")
        FakeModel().run(ids=[0, 0], max_new_tokens=3, watch=edge.Watch.all(), edits=others).save(tmp_path / "b.trace")
        ui.main.session.run_comparison(ComparisonRequest("b.trace", saved=tmp_path / "b.trace"))
        await ui.until(lambda: ui.main.state.compared is not None, "the other trace")
        assert "compared with b.trace (head 1.2 ablated)" in ui.shown("HeaderBar"), ui.shown("HeaderBar")


@pytest.mark.skipif(zoo_folder("fable-relu") is None, reason="the zoo is not here")
async def test_the_effect_on_screen_is_what_the_engine_answers_with_that_edit_alone() -> None:
    def open_model(name: str, engine: str, progress: Progress) -> edge.Model:
        return edge.load(name, engine, threads=1, progress=progress)

    app, runner = app_on_model(open_model, ModelOnEngine("fable-relu", "onnx"), ("onnx",))
    first, second = ScaleHead(1, 0, 0.0), Ablate("layers.2.ffn")
    try:
        async with app.run_test(size=(160, 50)) as pilot:
            ui = AppDriver(app, app.main, pilot, FakeModels(), runner)
            await ui.until(lambda: app.main.state.model is not None, "the model to load")
            await ui.run(PROMPT)
            for edit in (first, second):
                await toggle(ui, edit)
            together = effect(ui)
            await ui.press("X", "down", "down", "enter")
            await answered(ui)
            alone, ids = effect(ui), list(ui.shown_run.trace.tokens[: ui.shown_run.trace.n_fed])
            token = ui.main.state.selection.token
    finally:
        assert runner.close(PATIENCE_S)
    with edge.load("fable-relu", "onnx", threads=1) as model:
        plain, both, one = (model.logits(ids, edits)[token] for edits in ((), (first, second), (second,)))
    for reported, logits in ((together, both), (alone, one)):
        p, q = (
            np.exp(each.astype(np.float64) - np.logaddexp.reduce(each.astype(np.float64))) for each in (logits, plain)
        )
        bits = float((p * np.log2(p / q)).sum())
        assert f"KL {bits:.3f}"[:7] in reported, f"the engine says {bits:.4f} bits: {reported}"
    assert "all 2 edits" in together and "FFN of layer 2 ablated, 1 of 2" in alone
