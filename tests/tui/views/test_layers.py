"""The layers view: each line shows its layer's own numbers, and the tokens come from the real weights."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

import edge
from edge.picture.units import show_number, show_share, show_time
from models.zoo import zoo_names
from tests.tui.app_driver import PATIENCE_S, AppDriver, running_app
from tests.tui.fake_model import FakeModels
from tui.app_factory import app_on_model, model_opener
from tui.jobs.job import ModelOnEngine
from tui.views.layer_rows import kinds_of
from tui.widgets.layers.layer_table import LayerTable
from tui.widgets.layers.prediction_bars import PredictionBars

PROMPT = "Once upon a time there was a king who had"


async def test_each_layer_has_a_line_with_latency_sparsity_and_contribution() -> None:
    async with running_app(size=(200, 60)) as ui:
        await ui.run(PROMPT)
        table, run = ui.main.query_one("#layers", LayerTable), ui.shown_run
        assert run.timing is not None
        token = ui.main.state.selection.token
        lines = ui.shown("#layers").split("\n")
        for layer in range(run.trace.spec.n_layers):
            line = lines[1 + run.trace.spec.n_layers - 1 - layer]
            sparsity = run.overview.sparsity[ui.main.state.options.sparsity.key][layer, token]
            for reported in (show_time(run.timing.scaled_ns[f"layers.{layer}.ffn"]), show_share(float(sparsity))):
                assert reported in line, f"the line of layer {layer} does not say {reported}: {line!r}"
        attn, ffn = run.overview.attn_write[:, token], run.overview.ffn_write[:, token]
        largest = max(attn.max(), ffn.max())
        drawn = [(row.attn_write, row.ffn_write) for row in table.rows]
        np.testing.assert_allclose(drawn, np.stack([attn, ffn], axis=1) / largest, rtol=1e-6)


async def test_columns_without_room_wait_on_another_page() -> None:
    async with running_app(size=(80, 24)) as ui:
        await ui.run(PROMPT)
        table = ui.main.query_one("#layers", LayerTable)
        pages = table.pages()
        titles = [column.title for page in pages for column in page]
        assert len(pages) > 1 and len(set(titles)) == len(titles), f"columns come twice or fit all: {titles}"
        assert pages[1][0].title not in ui.shown("#layers")
        await ui.press("v")
        assert pages[1][0].title in ui.shown("#layers"), "v does not show the next columns"
        assert "v for more" in str(ui.main.query_one("#layers-pane").border_subtitle)


async def test_a_view_that_was_drawn_before_it_showed_takes_all_its_room() -> None:
    async with running_app(size=(200, 60)) as ui:
        await ui.press("escape", "4")
        await ui.run(PROMPT)
        await ui.press("1")
        assert ui.main.query_one("#contributions").size.area, "there is room for who writes, and it does not show"
        assert not str(ui.main.query_one("#layers-pane").border_subtitle), "all columns fit, and more are promised"


async def test_without_weights_the_words_say_what_is_missing() -> None:
    async with running_app(size=(200, 60)) as ui:
        await ui.run(PROMPT)
        assert "no weights" in ui.shown("#next"), ui.shown("#next")


async def test_heads_are_counted_by_the_role_they_play() -> None:
    async with running_app() as ui:
        await ui.run(PROMPT)
        scores = ui.shown_run.overview.heads
        scores.previous_token[1], scores.induction[1], scores.first_token[1] = [0.9, 0.6, 0.1, 0.2], 0.1, 0.29
        assert kinds_of(scores, 1) == "2 prev", "heads are counted beyond their thresholds"
        scores.first_token[1] = 0.3
        assert kinds_of(scores, 1) == "2 prev · 4 sink"


@asynccontextmanager
async def on_the_zoo(size: tuple[int, int]) -> AsyncIterator[AppDriver]:
    app, runner = app_on_model(model_opener(1), ModelOnEngine("fable-relu", "onnx"), ("onnx",))
    try:
        async with app.run_test(size=size) as pilot:
            ui = AppDriver(app, app.main, pilot, FakeModels(), runner)
            await ui.until(lambda: app.main.state.model is not None, "the model to load")
            yield ui
    finally:
        assert runner.close(PATIENCE_S)


@pytest.mark.skipif("fable-relu" not in zoo_names(), reason="fable-relu is not in the zoo of this checkout")
async def test_what_comes_next_is_what_the_model_answers() -> None:
    async with on_the_zoo((200, 60)) as ui:
        await ui.run(PROMPT)
        await ui.press("left_square_bracket", "left_square_bracket")
        trace, token = ui.shown_run.trace, ui.main.state.selection.token
        bars = ui.main.query_one("#next", PredictionBars)
        with edge.load("fable-relu", "onnx", threads=1) as model:
            logits = model.logits(list(trace.tokens[: token + 1]))[-1].astype(np.float64)
        odds = np.exp(logits - logits.max())
        odds /= odds.sum()
        top = np.argsort(-odds)[: len(bars.predictions) or 8]
        await ui.until(
            lambda: [prediction.id for prediction in bars.predictions] == top.tolist(),
            "the likeliest tokens of the model",
        )
        shown = [prediction.probability for prediction in bars.predictions]
        np.testing.assert_allclose(shown, odds[top], rtol=1e-3)
        line = ui.shown("#layers").split("\n")[1]
        assert show_number(float(odds[top[0]])) in line, f"the last layer does not read as that: {line!r}"


@pytest.mark.skipif("fable-relu" not in zoo_names(), reason="fable-relu is not in the zoo of this checkout")
async def test_surprisal_is_what_the_model_gave_each_token() -> None:
    async with on_the_zoo((120, 42)) as ui:
        await ui.run(PROMPT)
        trace, bits = ui.shown_run.trace, ui.shown_run.surprisal_bits
        assert np.isnan(bits[0]) and not np.isnan(bits[1:]).any(), "a token after the first has no surprise"
        with edge.load("fable-relu", "onnx", threads=1) as model:
            logits = model.logits(list(trace.tokens[:-1])).astype(np.float64)
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        odds /= odds.sum(axis=-1, keepdims=True)
        wanted = -np.log2(odds[np.arange(len(odds)), np.array(trace.tokens[1:])])
        np.testing.assert_allclose(bits[1:], wanted, atol=2e-3)
