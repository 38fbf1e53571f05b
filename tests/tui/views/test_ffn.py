"""The FFN view: sparsity, neurons and predictions show the run's own numbers; an ablated neuron is compared."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import edge
from edge.change import Edit
from edge.edits import Ablate, ScaleNeuron
from edge.insight.ablation import NEURONS, STEP, ListAgreement
from edge.insight.neurons import neurons_at, read_cett, read_neurons
from edge.insight.prediction_change import read_ffn_change, read_run_change
from edge.measure.registry import MEASURES
from edge.measure.sparsity import exact_zero_share, gini, hoyer, top_p_sparsity
from edge.picture.pieces import quote_piece, show_piece
from edge.picture.units import show_share, show_weight
from models.progress import Progress
from models.zoo import zoo_folder
from tests.tiny import FakeCheckpoint, tiny_weights
from tests.tui.app_driver import PATIENCE_S, AppDriver, running_app
from tests.tui.drawn_lines import check_lines, colored
from tests.tui.fake_model import FakeModel, FakeModels, FakeTokenizer, small_spec
from tui.app_factory import app_on_model, app_on_trace
from tui.jobs.job import ModelOnEngine
from tui.messages import NeuronChosen
from tui.result_cache import ResultCache, ResultReady
from tui.view_state import MeasuredRun
from tui.views.ffn import FfnView
from tui.views.strongest_neurons import agreement_words
from tui.widgets.change_bars import ChangeBars
from tui.widgets.ffn.activation_curve import ActivationCurve
from tui.widgets.ffn.neuron_list import NeuronList
from tui.widgets.ffn.sparsity_definitions import SparsityDefinitions
from tui.widgets.sparsity_map import SparsityMap

PROMPT = "Once upon a time there was a king who had"


class AnyTokenizer(FakeTokenizer):
    """Has a piece for every id; those that no text has are awkward to draw."""

    def piece(self, id: int) -> str:
        return self.words[id] if id < len(self.words) else f" 王[b]\x07{id}"


class WeightedModel(FakeModel):
    """Sites are made up all the same, but there are weights that explain them."""

    def __init__(self, engine: str, spec: object = None) -> None:
        super().__init__(engine, spec=small_spec())
        self.checkpoint = FakeCheckpoint(self.spec, tiny_weights(self.spec, 0), name="fake")  # type: ignore[assignment]
        self.tokenizer = AnyTokenizer()


class WeightedModels(FakeModels):
    def open(self, model: str, engine: str, progress: Progress) -> FakeModel:
        progress("reading weights")
        self.opened.append(WeightedModel(engine))
        return self.opened[-1]


@asynccontextmanager
async def looking(size: tuple[int, int] = (160, 56), fake_models: FakeModels | None = None) -> AsyncIterator[AppDriver]:
    """The view on a run whose neurons are read."""
    async with running_app(fake_models or WeightedModels(), size) as ui:
        await ui.run(PROMPT)
        await ui.press("3")
        await settled(ui)
        yield ui


async def settled(ui: AppDriver) -> None:
    """Waits until nothing is awaited from the reader, and the strongest neuron is chosen."""
    view = ui.main.query_one(FfnView)
    await ui.idle()
    await ui.until(lambda: not view.query(".computing") and "computing" not in ui.shown("#definitions"), "the readings")
    await ui.until(lambda: bool(view.query_one(NeuronList).neurons), "the memories")


def chosen(ui: AppDriver) -> tuple[int, int, int]:
    selection = ui.main.state.selection
    return selection.layer, selection.token, selection.neuron


def title(ui: AppDriver, pane: str) -> str:
    return str(ui.main.query_one(f"#{pane}-pane").border_title)


# ---- sparsity -------------------------------------------------------------------------------------------


async def test_the_map_shows_each_definition_of_the_run_in_turn() -> None:
    async with looking() as ui:
        grid = ui.main.query_one("#ffn", SparsityMap)
        for sparsity in (*MEASURES, MEASURES[0]):
            assert ui.main.state.options.sparsity == sparsity, f"g leads to {ui.main.state.options.sparsity.title}"
            want = ui.shown_run.overview.sparsity[sparsity.key]
            np.testing.assert_array_equal(grid.shares, want, err_msg=f"the map is not {sparsity.title}")
            assert sparsity.title in title(ui, "ffn") and sparsity.title in ui.shown("#ffn-legend")
            marked = [line for line in ui.shown("#definitions").splitlines() if "▸" in line]
            assert len(marked) == 1 and sparsity.title in marked[0], f"marked as what colors the map: {marked}"
            await ui.press("g")


async def test_five_definitions_of_the_chosen_token_stand_side_by_side() -> None:
    async with looking() as ui:
        layer, token, _ = chosen(ui)
        trace, weights = ui.shown_run.trace, ui.shown_run.weights
        assert weights is not None
        neurons = trace.neurons(layer)
        want = [measure(neurons)[token] for measure in (exact_zero_share, top_p_sparsity, hoyer, gini)]
        want.append(read_cett(trace, weights, layer).share[token])
        rows = ui.main.query_one(SparsityDefinitions).rows
        np.testing.assert_allclose([row.value for row in rows], want, rtol=1e-5)
        lines = ui.shown("#definitions").splitlines()[1:]
        for row, line in zip(rows, lines, strict=False):
            assert row.title in line and row.show(row.value) in line, f"{row.title} is not told: {line!r}"
            assert any(words in line for words in row.meanings), f"no meaning: {line!r}"
        assert show_share(float(want[4])) in lines[4], f"CETT is {want[4]}: {lines[4]!r}"


async def test_keys_and_mouse_choose_a_definition_and_a_place() -> None:
    async with looking() as ui:
        grid, definitions = ui.main.query_one("#ffn", SparsityMap), ui.main.query_one(SparsityDefinitions)
        await ui.pilot.click(grid, offset=(grid.gutter_cells + 3 * grid.cell, grid.ruler_lines + 2))
        assert chosen(ui)[:2] == (0, 3), f"clicked token 3 in the lowest of three layers: {chosen(ui)}"
        await ui.press("up", "right")
        assert chosen(ui)[:2] == (1, 4), f"up and right of layer 0, token 3: {chosen(ui)}"
        await ui.pilot.click(definitions, offset=(4, definitions.ruler_lines + 2))
        assert ui.main.state.options.sparsity == MEASURES[2], "a click on the third definition does not choose it"
        await ui.press("down", "down", "down")
        assert ui.main.state.options.sparsity == MEASURES[-1]
        await ui.pilot.click(definitions, offset=(4, definitions.ruler_lines + 4))
        assert ui.main.state.options.sparsity == MEASURES[-1], "CETT has no map, yet was chosen for it"


async def test_the_map_shows_the_other_run_and_the_difference() -> None:
    async with looking() as ui:
        grid = ui.main.query_one("#ffn", SparsityMap)
        assert ui.main.query_one(FfnView).check_action("side", ()) is None, "v is offered with nothing beside"
        await ui.press("z")
        await ui.until(lambda: ui.main.state.compared is not None, "the run without the FFN")
        await settled(ui)
        assert ui.main.state.edits == (Ablate(f"layers.{chosen(ui)[0]}.ffn"),)
        own, compared = (
            shown.overview.sparsity["exact_zero_share"]
            for shown in (ui.shown_run, ui.main.state.compared)
            if isinstance(shown, MeasuredRun)
        )
        assert not np.array_equal(own, compared)
        np.testing.assert_array_equal(grid.shares, compared, err_msg="an edit does not show its run")
        await ui.press("v")
        np.testing.assert_allclose(grid.shares, 100 * (compared - own), rtol=1e-5, err_msg="not the difference")
        assert "pp" in ui.shown("#ffn") and "percentage points" in ui.shown("#ffn-legend")
        assert grid.scale.low == -grid.scale.high, "zero is not in the middle of the scale"
        await ui.press("v")
        np.testing.assert_array_equal(grid.shares, own)


# ---- the curve ------------------------------------------------------------------------------------------


async def test_the_curve_falls_on_a_log_scale_to_where_nine_tenths_end() -> None:
    async with looking() as ui:
        await ui.press("s")
        layer, token, _ = chosen(ui)
        curve, neurons = ui.main.query_one(ActivationCurve), np.abs(neurons_at(ui.shown_run.trace, layer, token))
        heights = curve.heights()
        assert (np.diff(heights) <= 0).all() and heights[0] == 1, f"the curve does not fall from 1: {heights}"
        ranked = np.sort(neurons)[::-1]
        for cell in range(0, curve.view_cells, 7):
            size = ranked[cell * len(ranked) // curve.view_cells]
            want = max(0.0, 1 + np.log10(size / ranked[0]) / 4) if size else 0.0
            assert heights[cell] == pytest.approx(want, abs=1e-5), f"cell {cell} shows {size}"
        needed = round((1 - float(top_p_sparsity(neurons))) * len(neurons))
        assert ranked[:needed].sum() >= 0.9 * ranked.sum() > ranked[: needed - 1].sum()
        assert f"{needed} neurons (" in ui.shown("#curve"), ui.shown("#curve")
        zeros = f"{int((neurons == 0).sum())} of {len(neurons)} exactly 0"
        assert zeros in str(ui.main.query_one("#curve-pane").border_subtitle)


async def test_the_curve_is_walked_from_neuron_to_neuron_and_zooms_to_those_that_fire() -> None:
    async with looking() as ui:
        await ui.press("s")
        layer, token, _ = chosen(ui)
        curve = ui.main.query_one(ActivationCurve)
        neurons = np.abs(neurons_at(ui.shown_run.trace, layer, token))
        order = np.argsort(-neurons, kind="stable")
        curve.focus()
        await ui.press("home")
        assert chosen(ui)[2] == order[0]
        await ui.press("right", "right")
        assert chosen(ui)[2] == order[2] and f"neuron {order[2]}, rank 3" in ui.shown("#curve")
        await ui.press("left")
        assert chosen(ui)[2] == order[1]
        middle = curve.view_cells // 2
        await ui.pilot.click(curve, offset=(curve.gutter_cells + middle, 3))
        rank = middle * len(order) // curve.view_cells
        assert chosen(ui)[2] == order[rank], f"a click in the middle chooses neuron {chosen(ui)[2]}"
        active = int((neurons > neurons.max() / 1e4).sum())
        assert active < len(order)
        await ui.press("s")
        assert f"largest {active} of {len(order)}" in ui.shown("#curve")


# ---- memories -------------------------------------------------------------------------------------------


async def test_neurons_are_those_that_contribute_most_with_their_promoted_tokens() -> None:
    async with looking() as ui:
        layer, token, neuron = chosen(ui)
        shown, grid = ui.shown_run, ui.main.query_one(NeuronList)
        assert shown.weights is not None
        want = read_neurons(shown.trace, shown.weights, layer, token)
        assert grid.neurons == want and neuron == want[0].neuron, "the strongest is not chosen at first"
        lines = ui.shown("#neurons").splitlines()
        first = lines[1]
        for words in (
            "▸",
            f" {want[0].neuron} ",
            f"{want[0].coefficient:.2f}",
            quote_piece(want[0].promoted_tokens[0]),
        ):
            assert words in first, f"the first line does not say {words!r}: {first!r}"
        assert "activation" in lines[0] and "norm" in lines[0] and "promoted tokens" in lines[0]


async def test_a_neuron_is_followed_from_token_to_token_but_not_into_another_layer() -> None:
    async with looking() as ui:
        grid = ui.main.query_one(NeuronList)
        grid.focus()
        await ui.press("down", "down")
        layer, token, neuron = chosen(ui)
        assert neuron == grid.neurons[2].neuron, "down does not choose the next memory"
        for _ in range(6):
            await ui.press("left_square_bracket")
            await settled(ui)
            assert chosen(ui)[2] == neuron, "another token, another neuron"
            await ui.until(lambda: neuron in {memory.neuron for memory in grid.neurons}, "the neuron in the list")
        await ui.press("j")
        await settled(ui)
        shown = ui.shown_run
        assert shown.weights is not None
        strongest = read_neurons(shown.trace, shown.weights, layer - 1, token - 6)[0].neuron
        await ui.until(lambda: chosen(ui)[2] == strongest, "the strongest neuron of the layer below")


async def test_where_nobody_chose_a_neuron_the_strongest_of_each_token_is() -> None:
    async with looking() as ui:
        grid = ui.main.query_one(NeuronList)
        for _ in range(4):
            await ui.press("left_square_bracket")
            await settled(ui)
            await ui.until(lambda: chosen(ui)[2] == grid.neurons[0].neuron, "the strongest of this token")
        followed = chosen(ui)[2]
        await ui.press("x")
        await ui.until(lambda: ui.main.state.compared is not None, "the run without it")
        for _ in range(3):
            await ui.press("left_square_bracket")
            await settled(ui)
            assert chosen(ui)[2] == followed, "a neuron that was ablated is not followed"


async def test_a_click_chooses_a_memory_and_a_click_on_its_switch_ablates_it() -> None:
    async with looking() as ui:
        grid = ui.main.query_one(NeuronList)
        second, third = grid.neurons[1].neuron, grid.neurons[2].neuron
        await ui.pilot.click(grid, offset=(14, 2))
        assert chosen(ui)[2] == second and not ui.main.state.edits
        await ui.pilot.click(grid, offset=(3, 3))
        await ui.until(lambda: bool(ui.main.state.edits), "the edit")
        assert ui.main.state.edits == (ScaleNeuron(chosen(ui)[0], third, 0.0),)
        assert "× ablated" in ui.shown("#neurons").splitlines()[3]


async def test_an_ablated_neuron_runs_beside_and_both_answers_show() -> None:
    async with looking() as ui:
        layer, token, neuron = chosen(ui)
        assert "ablate the selection" in ui.shown("#edited")
        await ui.press("x")
        await ui.until(lambda: ui.main.state.compared is not None, "the run without the neuron")
        await settled(ui)
        main, compared = ui.shown_run, ui.main.state.compared
        assert compared is not None and main.weights is not None and compared.weights is not None
        assert ui.main.state.edits == (ScaleNeuron(layer, neuron, 0.0),)
        assert compared.trace.edits == (f"neuron {layer}.{neuron} ablated",)
        came = main.trace.tokens[token + 1 : token + 2]
        want = read_run_change(main.trace, main.weights, compared.trace, compared.weights, token, also=came)
        assert ui.main.query_one("#edited", ChangeBars).words == want.tokens
        heading = ui.shown("#edited").splitlines()[0]
        assert "without edits" in heading and f"neuron {layer}.{neuron} ablated" in heading, heading
        await ui.press("space")
        await ui.until(lambda: ui.main.state.compared is None, "the comparison to end")
        assert not ui.main.state.edits and "×" not in ui.shown("#neurons")
        assert "ablate the selection" in ui.shown("#edited")


async def test_an_edit_ended_before_its_run_came_leaves_nothing_beside() -> None:
    async with looking() as ui:
        view = ui.main.query_one(FfnView)
        view.action_ablate()
        view.action_ablate()
        await ui.pilot.pause()
        await settled(ui)
        state = ui.main.state
        assert not state.edits and state.compared is None, f"beside stands {state.compared and state.compared.name}"


async def test_what_is_ablated_stays_in_the_list_where_it_is_weak() -> None:
    async with looking() as ui:
        layer, token, _ = chosen(ui)
        inactive = int(np.flatnonzero(neurons_at(ui.shown_run.trace, layer, token) == 0)[0])
        ui.main.query_one(FfnView).post_message(NeuronChosen(inactive))
        await ui.until(lambda: chosen(ui)[2] == inactive, "the choice")
        await ui.press("x")
        await ui.until(lambda: ui.main.state.compared is not None, "the run beside")
        await settled(ui)
        await ui.until(lambda: f" {inactive} " in lines_at_end(ui), "the silent neuron at the end of the list")
        assert "0 at this token" in lines_at_end(ui) and "× ablated" in lines_at_end(ui), lines_at_end(ui)


class AnsweringModel(WeightedModel):
    """Answers each edit differently, so that both effects of a neuron are of other tokens."""

    def sites(self, watch: edge.Watch, rows: int, edits: int = 0) -> dict[str, np.ndarray]:
        return super().sites(watch, rows, len(self.edited) if edits else 0)

    def run(self, *args: Any, edits: tuple[Edit, ...] = (), **more: Any) -> edge.Trace:
        self.edited = (*self.edited, *edits)
        return super().run(*args, edits=edits, **more)

    edited: tuple[Edit, ...] = ()


class AnsweringModels(FakeModels):
    def open(self, model: str, engine: str, progress: Progress) -> FakeModel:
        progress("reading weights")
        self.opened.append(AnsweringModel(engine))
        return self.opened[-1]


async def test_measuring_shows_tokens_promoted_through_later_layers_beside_those_that_fall() -> None:
    async with looking(fake_models=AnsweringModels()) as ui:
        grid, (layer, token, _) = ui.main.query_one(NeuronList), chosen(ui)
        assert note(ui) == "agreement of direct tokens with ablation: not measured, m measures", note(ui)
        heads = ui.shown("#neurons").splitlines()[0]
        assert "direct" in heads and "later layers" not in heads and "fall" not in heads, heads
        model, ablated = ui.fake_models.opened[-1], grid.neurons[:NEURONS]
        assert isinstance(model, AnsweringModel)
        model.prompts.clear()
        await ui.press("m")
        await ui.until(lambda: bool(ui.shown_run.agreements), "the agreement")
        await settled(ui)
        assert len(model.prompts) == 1 + 2 * NEURONS, f"{len(model.prompts)} passes, 2 for each of {NEURONS} and 1"
        of = [memory.neuron for memory in ablated]
        factors = {(factor, neuron) for factor in (0.0, 1.0 - STEP) for neuron in of}
        assert {(edit.factor, edit.neuron) for edit in model.edited if isinstance(edit, ScaleNeuron)} == factors
        found = ui.shown_run.agreements[layer, token]
        assert set(found.promoted_tokens) == set(found.falling_tokens) == set(of), "not the strongest were measured"
        assert found.promoted_tokens != found.falling_tokens, "the made-up model answers both edits alike"
        lines = ui.shown("#neurons").splitlines()
        assert "through later layers" in lines[0] and "fall when ablated" in lines[0], lines[0]
        for memory, line in zip(ablated, lines[1:], strict=False):
            promoted, falls = (
                quote_piece(of[memory.neuron][0]) for of in (found.promoted_tokens, found.falling_tokens)
            )
            assert line.index(promoted) < line.rindex(falls), f"#{memory.neuron} promotes {promoted}: {line!r}"
            assert "direct" not in line
        other = lines[1 + NEURONS]
        assert f"direct: {quote_piece(grid.neurons[NEURONS].promoted_tokens[0])}" in other, other
        await ui.press("left_square_bracket")
        await settled(ui)
        heads = ui.shown("#neurons").splitlines()[0]
        assert "not measured" in note(ui) and "direct" in heads and "fall" not in heads, "kept at another token"


async def test_the_note_has_the_agreement_of_both_lists() -> None:
    async with looking(fake_models=AnsweringModels()) as ui:
        layer, token, _ = chosen(ui)
        await ui.press("m")
        await ui.until(lambda: bool(ui.shown_run.agreements), "the agreement")
        await settled(ui)
        found = ui.shown_run.agreements[layer, token]
        found = replace(found, direct=ListAgreement(0.12, 0.0, 4.4, 50), through=ListAgreement(0.99, 0.0, 46.25, 50))
        shown = replace(ui.shown_run, agreements={(layer, token): found})
        ui.main.state = replace(ui.main.state, main=shown)
        await ui.until(lambda: "0.99" in note(ui), "the note")
        roomy = (
            "agreement with ablation, r and common top-50 tokens: "
            "direct 0.12, 4.4 (poor); through later layers 0.99, 46.2"
        )
        short = "direct r 0.12, 4.4 of 50 (poor); later layers r 0.99, 46.2 of 50"
        least = "common top-50 tokens: direct 4.4, later layers 46.2"
        assert short in note(ui), note(ui)
        for cells, words in (
            (120, roomy),
            (96, f"agreement with ablation: {short}"),
            (72, short),
            (45, least),
            (10, least),
        ):
            assert agreement_words(ui.main.state, shown, found, cells) == words
        for overlap, is_poor in ((24.9, True), (25.0, False)):
            other = replace(found, direct=ListAgreement(0.5, 0.0, overlap, 50))
            assert ("(poor)" in agreement_words(ui.main.state, shown, other, 200)) == is_poor


async def test_the_table_has_both_lists_of_promoted_tokens_and_those_that_fall() -> None:
    async with looking(fake_models=AnsweringModels()) as ui:
        layer, token, _ = chosen(ui)
        await ui.press("m")
        await ui.until(lambda: bool(ui.shown_run.agreements), "the agreement")
        await settled(ui)
        found, table = ui.shown_run.agreements[layer, token], ui.main.query_one(FfnView).table(ui.main.state)
        assert table is not None
        for place, (record, memory) in enumerate(
            zip(table.records(), ui.main.query_one(NeuronList).neurons, strict=True)
        ):
            of = memory.neuron
            lists = (memory.promoted_tokens, found.promoted_tokens.get(of, ()), found.falling_tokens.get(of, ()))
            assert bool(lists[1]) == bool(lists[2]) == (place < NEURONS)
            columns = ("promoted_tokens", "promoted_through_later_layers", "fall_when_ablated")
            for column, pieces in zip(columns, lists, strict=True):
                assert record[column] == " ".join(map(quote_piece, pieces)), f"#{of}, {column}"


@pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=["small", "large"])
async def test_measured_tokens_fit_their_picture(size: tuple[int, int]) -> None:
    async with looking(size, AnsweringModels()) as ui:
        for _ in FfnView.tabs:
            if ui.main.query_one("#neurons-pane").size.area == 0:
                await ui.press("tab")
        await ui.press("m")
        await ui.until(lambda: bool(ui.shown_run.agreements), "the agreement")
        await settled(ui)
        check_lines(ui, f"{size}, measured")
        heads = ui.shown("#neurons").splitlines()[0]
        assert "through later layers" in heads and "fall when ablated" in heads, heads
        assert len(note(ui)) <= ui.main.query_one(NeuronList).view_cells and "later layers" in note(ui), note(ui)


def note(ui: AppDriver) -> str:
    return str(ui.main.query_one("#neurons-pane").border_subtitle)


def lines_at_end(ui: AppDriver) -> str:
    grid = ui.main.query_one(NeuronList)
    return grid.draw_body(len(grid.neurons) - 1).text


# ---- predictions ----------------------------------------------------------------------------------------


async def test_the_prediction_is_the_lens_before_and_after_the_ffn_and_marks_what_came() -> None:
    async with looking() as ui:
        await ui.press("left_square_bracket", "left_square_bracket", "j")
        await settled(ui)
        layer, token, _ = chosen(ui)
        shown, grid = ui.shown_run, ui.main.query_one("#lens", ChangeBars)
        assert shown.weights is not None
        came = shown.trace.tokens[token + 1]
        want = read_ffn_change(shown.trace, shown.weights, layer, token, also=(came,))
        assert grid.words == want.tokens and grid.next_id == came
        assert "before the FFN" in ui.shown("#lens") and "after the FFN" in ui.shown("#lens")
        marked = [line for line in ui.shown("#lens").splitlines() if "▸" in line]
        piece = show_piece(shown.weights.piece(came)).strip()
        assert len(marked) == 1 and piece in marked[0], f"marked as what came next, {piece!r}: {marked}"
        for word, line in zip(want.tokens, ui.shown("#lens").splitlines()[1:], strict=False):
            reported = show_weight(word.before) in line and show_weight(word.after) in line
            assert reported, f"{word} is not {line!r}"


async def test_going_back_to_a_place_asks_for_nothing() -> None:
    async with looking() as ui:
        asked: list[str] = []
        submit = ui.main.reader.submit
        ui.main.reader.submit = lambda kind, *rest: (asked.append(kind), submit(kind, *rest))[0]  # type: ignore[method-assign, assignment, func-returns-value]
        await ui.press("left_square_bracket")
        await settled(ui)
        assert {"neurons", "ffn lens"} <= set(asked), f"a new token asked for {asked} only"
        asked.clear()
        await ui.press("right_square_bracket")
        await settled(ui)
        assert not asked, f"a token that was read already was asked for again: {asked}"


async def test_readings_of_a_run_that_is_gone_are_dropped() -> None:
    async with looking() as ui:
        readings: ResultCache[str] = ResultCache("words", ui.main.query_one(FfnView))
        readings.store(ResultReady(readings, 1, "old", 0))
        assert readings.at(1, str) == "old"
        readings.clear()
        readings.store(ResultReady(readings, 1, "old", 0))
        assert readings.at(1, lambda: "new") is None, "what was read of another run shows"
        await ui.pilot.pause()


# ---- what is missing ------------------------------------------------------------------------------------


async def test_without_weights_neurons_are_listed_and_what_is_missing_is_said() -> None:
    async with looking(fake_models=FakeModels()) as ui:
        await ui.until(lambda: bool(ui.main.query_one(NeuronList).neurons), "the coefficients")
        assert "promoted tokens need the weights" in note(ui)
        assert ui.main.query_one(FfnView).check_action("measure", ()) is None, "m is offered without weights"
        assert "needs the weights" in ui.shown("#definitions") and "needs the weights" in ui.shown("#lens")


async def test_a_saved_trace_shows_what_it_holds_and_runs_nothing() -> None:
    model = FakeModel()
    ids = model.tokenizer.encode(PROMPT)
    everything = edge.Watch.all()
    trace = model.run(ids=ids, max_new_tokens=3, watch=everything)
    bare = replace(trace, sites={name: site for name, site in trace.sites.items() if "layers.1.ffn" not in name})
    app = app_on_trace(bare)
    async with app.run_test(size=(120, 50)) as pilot:
        await pilot.press("3")
        await pilot.pause()
        view = app.main.query_one(FfnView)
        assert view.check_action("ablate", ()) is None, "x is offered where nothing can run"
        assert view.check_action("measure", ()) is None, "m is offered where nothing can run"
        assert app.main.state.selection.layer == 1
        for name in ("neurons", "curve"):
            assert "'layers.1.ffn.neurons' was not recorded" in view.query_one(f"#{name}").notice  # type: ignore[attr-defined]
        assert "was not recorded" in view.query_one("#lens", ChangeBars).notice
        await pilot.press("k")
        await pilot.pause()
        assert view.query_one(ActivationCurve).notice == "", "layer 2 was recorded"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "every neuron is 0"),
        (float("nan"), "no activation is a finite number"),
        (float("inf"), "no activation is"),
    ],
)
async def test_neurons_that_are_inactive_or_not_numbers_show_a_message(value: float, words: str) -> None:
    async with looking() as ui:
        layer, token, _ = chosen(ui)
        trace = ui.shown_run.trace
        site = f"layers.{layer}.ffn.neurons"
        neurons = trace.sites[site].copy()
        neurons[token] = value
        broken = replace(trace, sites=trace.sites | {site: neurons})
        ui.main.state = replace(ui.main.state, main=replace(ui.shown_run, trace=broken))
        await ui.pilot.pause()
        await ui.pilot.pause()
        assert words in ui.shown("#curve"), ui.shown("#curve")
        await settled(ui) if value else await ui.until(lambda: "every neuron is 0" in ui.shown("#neurons"), "the words")
        assert "not a finite number" in ui.shown("#neurons") or not value
        ui.app.export_screenshot()


async def test_the_table_has_the_neurons_of_the_token() -> None:
    async with looking() as ui:
        view, (layer, token, _) = ui.main.query_one(FfnView), chosen(ui)
        table = view.table(ui.main.state)
        assert table is not None
        records, neurons = table.records(), ui.main.query_one(NeuronList).neurons
        assert [record["neuron"] for record in records] == [memory.neuron for memory in neurons]
        assert {(record["layer"], record["token"]) for record in records} == {(layer, token)}
        assert records[0]["norm"] == neurons[0].norm and records[0]["ablated"] == "no"


# ---- a bundled model ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "has_color"), [((80, 24), False), ((200, 60), True)], ids=["small", "large"])
async def test_every_line_is_as_wide_as_its_picture(
    size: tuple[int, int], has_color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_color:
        monkeypatch.setenv("NO_COLOR", "1")
    async with looking(size) as ui:
        await ui.press("x")
        await ui.until(lambda: ui.main.state.compared is not None, "the run without the neuron")
        await settled(ui)
        for side in ("this run", "the other", "the difference"):
            for pane in FfnView.tabs:
                check_lines(ui, f"{pane} at {size}, {side}")
                await ui.press("tab")
            await ui.press("v")
        picture = ui.app.export_screenshot()
        assert "\x07" not in picture and (has_color or not colored(picture))


@pytest.mark.skipif(zoo_folder("fable-relu") is None, reason="the zoo is not here")
async def test_the_screen_shows_the_engine_s_prediction_without_the_strongest_neuron() -> None:
    def open_model(name: str, engine: str, progress: Progress) -> edge.Model:
        return edge.load(name, engine, threads=1, progress=progress)

    app, runner = app_on_model(open_model, ModelOnEngine("fable-relu", "onnx"), ("onnx",))
    try:
        async with app.run_test(size=(160, 56)) as pilot:
            ui = AppDriver(app, app.main, pilot, FakeModels(), runner)
            await ui.until(lambda: app.main.state.model is not None, "the model to load")
            await ui.run(PROMPT)
            await ui.press("3", *"kkkkkkkk")
            await settled(ui)
            layer, token, neuron = chosen(ui)
            await ui.press("x")
            await ui.until(lambda: app.main.state.compared is not None, "the run without the neuron")
            await settled(ui)
            words = app.main.query_one("#edited", ChangeBars).words
            ids = list(ui.shown_run.trace.tokens[: ui.shown_run.trace.n_fed])
    finally:
        assert runner.close(PATIENCE_S)
    with edge.load("fable-relu", "onnx", threads=1) as model:
        plain, without = model.logits(ids)[token], model.logits(ids, edits=[ScaleNeuron(layer, neuron, 0.0)])[token]
    assert len(words) >= 5
    for word in words:
        for reported, logits in ((word.before, plain), (word.after, without)):
            shares = np.exp(logits.astype(np.float64) - logits.max())
            assert reported == pytest.approx(float(shares[word.id] / shares.sum()), rel=1e-3), f"{word}"
