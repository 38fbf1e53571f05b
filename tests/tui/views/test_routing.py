"""The routing pane of the FFN view, on a real mixture of experts: weights, load, edits of experts, and its place."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from edge.change import Edit
from edge.edits import ChooseExpert, ScaleExpert, ScaleNeuron
from edge.measure.routing import balance, largest_weights, load, load_entropy_bits, router_shares
from edge.mixture_neurons import expert_neurons, expert_of
from edge.picture.units import show_number, show_share
from models.progress import Progress
from models.spec import DecoderSpec, MoE
from tests.mixtures import mixture_model, mixture_spec
from tests.tui.app_driver import AppDriver, running_app
from tests.tui.drawn_lines import check_lines, colored
from tests.tui.fake_model import FakeModel, FakeModels
from tui.app_factory import app_on_trace
from tui.view_state import MeasuredRun
from tui.views.ffn import FfnView
from tui.widgets.ffn.activation_curve import ActivationCurve
from tui.widgets.ffn.neuron_list import NeuronList
from tui.widgets.ffn.routing_map import RoutingMap
from tui.widgets.ffn.sparsity_definitions import SparsityDefinitions
from tui.widgets.frame.pane_tabs import PaneTabs
from tui.widgets.text_line import TextLine

PROMPT = " ".join(str(id) for id in (3, 1, 41, 59, 26, 5, 35, 8, 9, 7, 3, 1, 41))


class MixtureModels(FakeModels):
    """Opens real models."""

    def __init__(self, spec: DecoderSpec | None = None) -> None:
        super().__init__()
        self._spec = spec or mixture_spec()

    def open(self, model: str, engine: str, progress: Progress) -> FakeModel:
        return cast(FakeModel, mixture_model(self._spec))


@asynccontextmanager
async def looking(size: tuple[int, int] = (200, 60), spec: DecoderSpec | None = None) -> AsyncIterator[AppDriver]:
    """The view on a mixture's top layer, with the keyboard focus on the routing map."""
    async with running_app(MixtureModels(spec), size) as ui:
        await ui.press("n", "n", "n", "n", "r")  # 16 new tokens, greedy
        await ui.run(PROMPT)
        await ui.press("3", "k", "k")
        await settled(ui)
        ui.main.shown_view.pane = "routing"
        ui.main.shown_view.focus_pane()
        await ui.pilot.pause()
        yield ui


async def settled(ui: AppDriver) -> None:
    view = ui.main.query_one(FfnView)
    await ui.idle()
    await ui.until(lambda: not view.query(".computing") and "computing" not in ui.shown("#definitions"), "the readings")


def grid_of(ui: AppDriver) -> RoutingMap:
    return ui.main.query_one(RoutingMap)


def kind_of(ui: AppDriver) -> MoE:
    kind = ui.shown_run.trace.spec.layers[ui.main.state.selection.layer].ffn
    assert isinstance(kind, MoE)
    return kind


def note(ui: AppDriver, pane: str = "routing") -> str:
    return str(ui.main.query_one(f"#{pane}-pane").border_subtitle)


def title(ui: AppDriver, pane: str = "routing") -> str:
    return str(ui.main.query_one(f"#{pane}-pane").border_title)


def said(ui: AppDriver, line: str) -> str:
    return str(ui.main.query_one(f"#routing-{line}", TextLine).render())


async def edited(ui: AppDriver, key: str, edit: Edit) -> MeasuredRun:
    """The comparison run after a key."""
    await ui.press(key)
    await ui.until(lambda: ui.main.state.compared is not None, f"the run with {edit}")
    await settled(ui)
    assert ui.main.state.edits == (edit,)
    assert ui.main.state.compared is not None
    return ui.main.state.compared


async def test_the_map_shows_weights_choices_and_load_of_the_run() -> None:
    async with looking() as ui:
        trace, layer, grid = ui.shown_run.trace, ui.main.state.selection.layer, grid_of(ui)
        given = trace.site(f"layers.{layer}.ffn.router")
        chosen = trace.site(f"layers.{layer}.ffn.chosen").astype(np.int64)
        np.testing.assert_array_equal(grid.routing.weights, given.T)
        np.testing.assert_array_equal(grid.routing.chosen, given.T > 0)
        of_experts, kind = load(chosen, kind_of(ui).n_experts), kind_of(ui)
        token = ui.main.state.selection.token
        for expert, line in enumerate(ui.shown("#routing").splitlines()[1 : 1 + kind.n_experts]):
            assert line.split()[0 if "▸" not in line else 1] == str(expert), f"expert {expert} is not line {line!r}"
            assert show_share(float(of_experts[expert])) in line
            weight = show_number(float(given[token, expert])) if expert in chosen[token] else "·"
            assert f" {weight} " in line, f"the weight {weight} of expert {expert} is not in {line!r}"
        assert title(ui) == f"routing · layer {layer}, 2 of {kind.n_experts} experts per token"
        shares = router_shares(trace.site(f"layers.{layer}.ffn.scores"), kind.router)
        for number in (load_entropy_bits(of_experts), float(np.log2(kind.n_experts)), balance(of_experts, shares)):
            assert show_number(number) in note(ui), f"{number} is not in {note(ui)!r}"
        assert "router weight" in ui.shown("#routing-legend") and "· not chosen" in ui.shown("#routing-legend")


async def test_arrows_and_clicks_choose_an_expert_and_a_token() -> None:
    async with looking() as ui:
        grid, trace = grid_of(ui), ui.shown_run.trace
        given = trace.site(f"layers.{ui.main.state.selection.layer}.ffn.router")
        assert ui.main.state.selection.expert == given[ui.main.state.selection.token].argmax(), "not the strongest"
        await ui.press("home", "up", "up", "up", "up", "up", "up")
        assert (ui.main.state.selection.expert, ui.main.state.selection.token) == (0, 0)
        await ui.press("down", "right", "right")
        assert (ui.main.state.selection.expert, ui.main.state.selection.token) == (1, 2)
        await ui.pilot.click(grid, offset=(grid.gutter_cells + 5 * grid.cell, grid.ruler_lines + 3))
        assert (ui.main.state.selection.expert, ui.main.state.selection.token) == (3, 5)
        of_expert = largest_weights(given, 3, 99)
        words = said(ui, "expert")
        assert words.startswith("expert 3") and ("largest weights" in words) == bool(len(of_expert)), words
        at = [
            words.index(f"{ui.shown_run.quote(int(token))} {show_number(float(given[token, 3]))}")
            for token in of_expert[:8]
        ]
        assert at == sorted(at), "the largest weight is not first"
        assert "router entropy" in said(ui, "token") and ui.shown_run.quote(5) in said(ui, "token")


async def test_x_ablates_the_expert_and_the_prediction_changes() -> None:
    async with looking() as ui:
        chosen, grid = ui.main.state.selection, grid_of(ui)
        compared = await edited(ui, "x", ScaleExpert(chosen.layer, chosen.expert, 0.0))
        assert compared.trace.edits == (f"expert {chosen.layer}.{chosen.expert} ablated",)
        assert f"{chosen.expert}×" in ui.shown("#routing") and compared.name in title(ui)
        assert not grid.routing.weights[chosen.expert].any(), "the run with the edit is not shown"
        assert f"expert {chosen.layer}.{chosen.expert} ablated" in ui.shown("#edited")
        off = set(expert_neurons(kind_of(ui), chosen.expert))
        listed = {memory.neuron for memory in ui.main.query_one(NeuronList).neurons}
        ablated = ui.main.query_one(NeuronList).off
        assert {neuron for neuron in listed if neuron in ablated} == listed & off
        assert f"{len(off)} ablated neurons excluded" in ui.shown("#ffn-legend")
        await ui.press("v")
        assert grid.routing.is_difference and grid.scale.low == -grid.scale.high
        assert grid.routing.weights[chosen.expert].min() < 0, "the difference does not show what was lost"
        await ui.press("x")
        await ui.until(lambda: ui.main.state.compared is None, "the comparison to end")
        assert "×" not in ui.shown("#routing")


async def test_f_forces_the_expert_at_every_token() -> None:
    async with looking() as ui:
        given = grid_of(ui).routing.weights
        expert = int((given > 0).sum(axis=1).argmin())
        for _ in range(kind_of(ui).n_experts):
            await ui.press("up")
        await ui.press(*["down"] * expert)
        assert ui.main.state.selection.expert == expert
        await edited(ui, "f", ChooseExpert(ui.main.state.selection.layer, expert))
        assert grid_of(ui).routing.chosen[expert].all(), "a token does not choose the forced expert"
        assert f"{expert}+" in ui.shown("#routing")
        await ui.press("f")
        await ui.until(lambda: ui.main.state.compared is None, "the comparison to end")


async def test_x_in_the_list_of_neurons_ablates_the_neuron() -> None:
    async with looking() as ui:
        ui.main.query_one(NeuronList).focus()
        chosen = ui.main.state.selection
        compared = await edited(ui, "x", ScaleNeuron(chosen.layer, chosen.neuron, 0.0))
        active = compared.trace.neurons(chosen.layer)[:, chosen.neuron]
        assert not active.any(), f"the ablated neuron is active: {active}"


async def test_neurons_name_their_expert_and_b_lists_those_of_one() -> None:
    async with looking() as ui:
        grid, kind = ui.main.query_one(NeuronList), kind_of(ui)
        lines = ui.shown("#neurons").splitlines()
        assert "expert" in lines[0]
        for memory, line in zip(grid.neurons, lines[1:], strict=False):
            expert, _ = expert_of(kind, memory.neuron)
            assert f" {memory.neuron} " in line and f" {expert} " in line, (
                f"{memory.neuron} is not of {expert}: {line!r}"
            )
        expert = ui.main.state.selection.expert
        before = [memory.neuron for memory in grid.neurons]
        await ui.press("b")
        await settled(ui)
        await ui.until(lambda: "only" in title(ui, "neurons"), "the title")
        of_expert = expert_neurons(kind, expert)
        listed = [memory.neuron for memory in grid.neurons]
        assert listed == [neuron for neuron in before if neuron in of_expert] and listed
        given = ui.shown_run.trace.site(f"layers.{ui.main.state.selection.layer}.ffn.router")
        other = int(given[ui.main.state.selection.token].argmin())
        await ui.press(*["up"] * kind.n_experts, *["down"] * other)
        await ui.until(lambda: "is not chosen at this token" in grid.notice, "the message")
        await ui.press("b")
        await settled(ui)
        await ui.until(lambda: [memory.neuron for memory in grid.neurons] == before, "all neurons")


async def test_a_layer_with_a_dense_ffn_has_its_curve() -> None:
    async with looking() as ui:
        view = ui.main.query_one(FfnView)
        assert view.check_action("zoom", ()) is False and view.check_action("filter", ()) is True
        assert ui.main.query_one(ActivationCurve).size.area == 0
        await ui.press("j")
        await settled(ui)
        assert "routing" not in view.offered and view.pane == "curve" and ui.main.query_one(ActivationCurve).has_focus
        assert grid_of(ui).size.area == 0 and ui.main.query_one(ActivationCurve).size.area > 0
        assert view.check_action("zoom", ()) is True and view.check_action("filter", ()) is False
        assert "expert" not in ui.shown("#neurons").splitlines()[0] and not note(ui, "definitions")
        await ui.press("k")
        await settled(ui)
        assert grid_of(ui).has_focus and view.pane == "routing" and "inactive" in note(ui, "definitions")
        assert "60 neurons in 6 experts" in title(ui, "definitions")


async def test_sparsity_counts_experts_that_are_not_chosen() -> None:
    async with looking() as ui:
        rows = ui.main.query_one(SparsityDefinitions).rows
        kind = kind_of(ui)
        assert rows[0].value >= 1 - kind.top_k / kind.n_experts - 1e-6, "unused experts are not inactive"


SIZES = {"small": (80, 24), "medium": (120, 42), "large": (200, 60)}


@pytest.mark.parametrize("experts", [8, 128])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_every_line_is_as_wide_as_its_picture(
    size: tuple[int, int], experts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if size == SIZES["small"]:
        monkeypatch.setenv("NO_COLOR", "1")
    async with looking(size, mixture_spec(experts, 2, shared=experts == 8)) as ui:
        view = ui.main.query_one(FfnView)
        assert grid_of(ui).size.area > 0 and f"2 of {experts} experts" in title(ui)
        if size == SIZES["small"]:
            assert list(view.query_one(PaneTabs).tabs) == list(view.offered) and "curve" not in view.offered
        await ui.press("pagedown", "pagedown", "left", "left")
        check_lines(ui, f"{experts} experts at {size}")
        assert f"▸{ui.main.state.selection.expert:>4}" in ui.shown("#routing"), "the chosen expert is not in view"
        await ui.press("x")
        await ui.until(lambda: ui.main.state.compared is not None, "the run without the expert")
        await settled(ui)
        for side in ("the other", "the difference", "this run"):
            for pane in view.offered:
                check_lines(ui, f"{pane} at {size}, {side}")
                await ui.press("tab")
            await ui.press("v")
        picture = ui.app.export_screenshot()
        assert size != SIZES["small"] or not colored(picture)


async def test_300_tokens_scroll() -> None:
    async with looking(spec=mixture_spec(16)) as ui:
        await ui.run(" ".join(str(3 + number % 90) for number in range(300)))
        await ui.press("3", "k", "k")
        await settled(ui)
        grid_of(ui).focus()
        await ui.press("end", "home", "right")
        check_lines(ui, "300 tokens")
        assert grid_of(ui).virtual_size.width > grid_of(ui).size.width and ui.main.state.selection.token == 1


async def test_the_table_has_the_experts_while_the_pane_is_current() -> None:
    async with looking() as ui:
        view, state = ui.main.query_one(FfnView), ui.main.state
        table = view.table(state)
        assert table is not None
        records = table.records()
        assert [record["expert"] for record in records] == list(range(kind_of(ui).n_experts))
        assert sum(float(str(record["load"])) for record in records) == pytest.approx(1.0, abs=1e-5)
        view.pane = "neurons"
        neurons = view.table(state)
        assert neurons is not None and "neuron" in neurons.records()[0]


async def test_a_saved_trace_shows_its_routing_and_takes_no_edits() -> None:
    async with looking() as ui:
        trace = ui.shown_run.trace
    without = {name: site for name, site in trace.sites.items() if "layers.2.ffn.scores" not in name}
    for saved, words in ((trace, ""), (replace(trace, sites=without), "'layers.2.ffn.scores' was not recorded")):
        app = app_on_trace(saved)
        async with app.run_test(size=(200, 60)) as pilot:
            await pilot.press("3", "k", "k")
            await pilot.pause()
            grid = app.main.query_one(RoutingMap)
            assert words in grid.notice and bool(words) == bool(grid.notice)
            assert grid.check_action("ablate", ()) is None and grid.check_action("force", ()) is None
