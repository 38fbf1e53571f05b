"""A newcomer's path on the bundled model, from the first start to quitting, all of it through keys."""

from pathlib import Path

import numpy as np
import pytest

import edge
from edge.engines.registry import installed_engines
from models.zoo import zoo_names
from tests.tui.app_driver import PATIENCE_S, AppDriver
from tests.tui.dialogs import choose, open_dialog, type_in, written
from tests.tui.fake_model import FakeModels
from tui.app import EdgeApp
from tui.app_factory import app_on_model, model_opener
from tui.jobs.job import ModelOnEngine
from tui.screens.compare import CompareScreen
from tui.screens.open import OpenScreen
from tui.views.ffn import FfnView
from tui.widgets.choice_list import ChoiceList
from tui.widgets.ffn.neuron_list import NeuronList

PROMPT = "Once upon a time there was a king who had"

pytestmark = pytest.mark.skipif("fable-relu" not in zoo_names(), reason="fable-relu is not in the zoo of this checkout")


async def look_at_a_head(ui: AppDriver) -> None:
    await ui.press("2", "l", "l", "k")
    chosen, trace = ui.main.state.selection, ui.shown_run.trace
    value = trace.pattern(chosen.layer, chosen.head)[chosen.token, chosen.key]
    reported = str(ui.main.query_one("#readout").render())
    assert f"{value:.3f}" in reported or f"{value:.2g}" in reported, f"the map says {reported}, the trace {value}"


async def switch_engine(ui: AppDriver, other: str) -> None:
    before = ui.shown_run.trace
    while ui.main.session.target is None or ui.main.session.target.engine != other:
        await ui.press("e")
        await ui.idle()
    await ui.until(
        lambda: ui.shown_run.trace.engine == other and ui.shown_run.timing is not None, f"the run on {other}"
    )
    await ui.idle()
    assert ui.shown_run.trace.tokens == before.tokens, f"{other} draws other tokens with the same seed"
    for layer in range(before.spec.n_layers):
        difference = np.abs(ui.shown_run.trace.neurons(layer) - before.neurons(layer)).max()
        assert difference < 1e-3, f"the neurons of layer {layer} differ by {difference} between engines"


async def compare_engines(ui: AppDriver) -> None:
    dialog = await open_dialog(ui, "d", CompareScreen)
    options = [option.id for option in dialog.query_one("#compare-with", ChoiceList).options if option.id]
    await choose(ui, dialog, "#compare-with", next(one for one in options if one.endswith("onnx:int4")))
    await ui.press("enter")
    await ui.until(lambda: ui.main.state.compared is not None and not ui.main.jobs.progress, "the run beside")
    compared = ui.main.state.compared
    assert compared is not None and compared.trace.engine == "onnx:int4"
    assert compared.trace.tokens == ui.shown_run.trace.tokens[: ui.shown_run.trace.n_fed]
    await ui.press("v")
    assert "minus" in str(ui.main.query_one("#comparison-pane").border_title), "v does not show the difference"
    ui.main.session.run_comparison(None)


async def switch_a_neuron_off(ui: AppDriver) -> None:
    await ui.press("3")
    view = ui.main.query_one(FfnView)
    view.pane = "neurons"
    view.focus_pane()
    neurons = ui.main.query_one("#neurons", NeuronList)
    await ui.until(lambda: not neurons.notice and bool(neurons.virtual_size.height > 1), "the neurons")
    await ui.press("x")
    await ui.until(
        lambda: ui.main.state.compared is not None and not ui.main.jobs.progress, "the run without the neuron"
    )
    compared, chosen = ui.main.state.compared, ui.main.state.selection
    assert compared is not None and (compared.trace.neurons(chosen.layer)[:, chosen.neuron] == 0).all(), (
        "it still fires"
    )
    await ui.press("x")
    await ui.until(lambda: ui.main.state.compared is None, "the neuron to be on again")


async def try_a_claim(ui: AppDriver) -> None:
    await ui.press("6", "enter")
    await ui.until(lambda: bool(ui.main.state.claim_results) and not ui.main.jobs.progress, "a claim to be tested")
    (result,) = ui.main.state.claim_results.values()
    assert str(result.finding.verdict) in ui.shown("#claims"), "the verdict does not show"


async def test_a_newcomer_s_path(tmp_path: Path) -> None:
    engines = tuple(engine for engine in ("onnx", "torch", "mlx") if engine in installed_engines())
    app, runner = app_on_model(model_opener(1), ModelOnEngine("fable-relu", "onnx"), engines)
    try:
        async with app.run_test(size=(160, 50)) as pilot:
            ui = AppDriver(app, app.main, pilot, FakeModels(), runner)
            await ui.until(lambda: app.main.state.model is not None, "the model to load")
            await ui.press(*PROMPT, "enter")
            await ui.until(
                lambda: app.main.state.main is not None and app.main.state.main.timing is not None, "the run"
            )
            await ui.idle()
            await look_at_a_head(ui)
            if len(engines) > 1:
                await switch_engine(ui, engines[1])
            await compare_engines(ui)
            await switch_a_neuron_off(ui)
            await try_a_claim(ui)
            for kind, name in (("csv", "lab.csv"), ("svg", "lab.svg"), ("trace", "once.trace")):
                await written(ui, kind, tmp_path / name)
            saved = edge.open_trace(tmp_path / "once.trace")
            assert saved.tokens == ui.shown_run.trace.tokens, "the saved run has other tokens"
            dialog = await open_dialog(ui, "o", OpenScreen)
            await type_in(ui, dialog, "#open-path", str(tmp_path / "once.trace"))
            await ui.until(lambda: ui.main.state.model is not ui.main.session.loaded, "the trace to open")
            await ui.press("1")
            assert "no weights" in ui.shown("#next").replace("\n", " "), "a saved trace hides what it lacks"
            await ui.press("ctrl+q")
    finally:
        assert runner.close(PATIENCE_S), "the runner's thread outlived the app"
    assert isinstance(app, EdgeApp) and app.return_code == 0
