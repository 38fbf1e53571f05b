"""The attention view: maps, heads and lists show the run's own numbers, and those of a second run."""

import numpy as np

from edge.edits import ScaleHead
from edge.measure.attention import entropy_bits
from tests.tui.app_driver import AppDriver, running_app
from tests.tui.fake_model import FakeModels, small_spec
from tui.comparison_request import ComparisonRequest
from tui.jobs.job import ModelOnEngine
from tui.widgets.attention.attention_map import AttentionMap
from tui.widgets.attention.head_grid import HeadGrid

PROMPT = "Once upon a time there was a king who had"


async def look(ui: AppDriver) -> AttentionMap:
    """Runs the prompt and goes to the view."""
    await ui.run(PROMPT)
    await ui.press("2")
    return ui.main.query_one("#map", AttentionMap)


def read_out(ui: AppDriver, name: str = "readout") -> str:
    return str(ui.main.query_one(f"#{name}").render())


async def test_the_map_is_the_trace_s_own_pattern() -> None:
    async with running_app(size=(120, 42)) as ui:
        attention = await look(ui)
        trace, chosen = ui.shown_run.trace, ui.main.state.selection
        pattern = trace.pattern(chosen.layer, chosen.head)
        assert attention.levels.shape == pattern.shape == (trace.n_fed, trace.n_fed)
        row, levels = pattern[chosen.token], attention.levels[chosen.token]
        brightest = int(np.where(levels < 32, levels, 0).argmax())
        assert np.isclose(row[brightest], row.max(), atol=1 / 31), "the brightest cell is not the largest weight"
        assert chosen.key == int(row.argmax()), "the cursor does not begin on what the last token reads most"
        assert f"{row[chosen.key]:.3f}" in read_out(ui), f"the read-out is {read_out(ui)!r}"


async def test_margins_are_each_row_s_entropy_and_what_each_key_is_given() -> None:
    async with running_app(size=(120, 42)) as ui:
        attention = await look(ui)
        trace, chosen = ui.shown_run.trace, ui.main.state.selection
        pattern = trace.pattern(chosen.layer, chosen.head)
        widest = np.log2(trace.n_fed)
        np.testing.assert_allclose(attention.rows, entropy_bits(pattern) / widest, rtol=1e-5)
        readers = np.arange(trace.n_fed, 0, -1)
        given = pattern.sum(axis=0) / readers
        np.testing.assert_allclose(attention.columns, given / given.max(), rtol=1e-5)


async def test_keys_choose_layer_and_head_and_the_map_follows() -> None:
    async with running_app() as ui:
        attention = await look(ui)
        before, chosen = attention.levels.copy(), ui.main.state.selection
        await ui.press("l")
        assert ui.main.state.selection.head == chosen.head + 1, "l does not choose the next head"
        assert not np.array_equal(before, attention.levels), "the map kept the old head"
        await ui.press("k")
        assert ui.main.state.selection.layer == chosen.layer + 1, "k does not choose the layer above"
        await ui.press("j", "h")
        assert (ui.main.state.selection.layer, ui.main.state.selection.head) == (chosen.layer, chosen.head)
        assert np.array_equal(before, attention.levels), "back at the head, another map"
        await ui.press(*"hhhhhhhjjjjjj")
        assert (ui.main.state.selection.layer, ui.main.state.selection.head) == (0, 0), "a choice left the model"


async def test_the_mouse_chooses_heads_and_cells_and_reads_out_without_choosing() -> None:
    async with running_app(size=(200, 60)) as ui:
        attention = await look(ui)
        heads = ui.main.query_one(HeadGrid)
        await ui.pilot.click(heads, offset=(heads.gutter_cells + 2 * heads.cell + 1, heads.ruler_lines))
        chosen = ui.main.state.selection
        assert (chosen.layer, chosen.head) == (2, 2), f"clicked 2, 2: {chosen}"
        x, line = attention.gutter_cells + 3 * attention.wide, attention.ruler_lines + (5 * attention.zoom + 1) // 2
        await ui.pilot.click(attention, offset=(x, line))
        chosen = ui.main.state.selection
        assert (chosen.token, chosen.key) == (5, 3), f"clicked 5, 3: {chosen}"
        await ui.pilot.hover(attention, offset=(attention.gutter_cells + 1, attention.ruler_lines + attention.zoom))
        await ui.pilot.pause()
        assert "mouse" in read_out(ui), "resting the mouse on a cell reads nothing out"
        assert ui.main.state.selection == chosen, "resting the mouse on a cell chose it"


async def test_arrows_walk_the_map_and_the_read_out_follows() -> None:
    async with running_app() as ui:
        await look(ui)
        await ui.press("j", "home", "up", "up", "left", "right")
        chosen = ui.main.state.selection
        value = ui.shown_run.trace.pattern(chosen.layer, chosen.head)[chosen.token, chosen.key]
        reported = read_out(ui)
        assert f"({chosen.token}) to" in reported and f"({chosen.key})" in reported, reported
        assert f"{value:.3f}" in reported or f"{value:.2g}" in reported, f"{value} is not in {reported!r}"
        await ui.press(*["right"] * 50)
        last = ui.main.state.selection
        assert last.key == last.token, "the cursor went beyond the token itself, where nothing is read"


async def test_the_scale_turns_log_and_the_first_token_drops() -> None:
    async with running_app() as ui:
        attention = await look(ui)
        linear = attention.levels.copy()
        await ui.press("s")
        assert attention.levels.astype(int).sum() > linear.astype(int).sum(), "a log scale does not lift faint weights"
        assert "log" in ui.shown("#map-legend"), ui.shown("#map-legend")
        await ui.press("s", "f")
        assert (attention.levels[:, 0] >= 32).all(), "the first token's column still shows"
        assert "first token hidden" in ui.shown("#map-legend"), ui.shown("#map-legend")


async def test_heads_are_colored_by_one_score_after_another() -> None:
    async with running_app(size=(120, 42)) as ui:
        await look(ui)
        scores = ui.shown_run.overview.heads
        assert f"{scores.entropy_bits[2, 3]:.2f}" in ui.shown("#heads"), ui.shown("#heads")
        for title, values in (("first-token share", scores.first_token), ("previous-token", scores.previous_token)):
            await ui.press("g")
            assert title in ui.shown("#heads-legend")
            assert f"{values[2, 3]:.2f}" in ui.shown("#heads"), ui.shown("#heads")


async def test_many_layers_and_heads_scroll_to_the_chosen_one() -> None:
    async with running_app(FakeModels(spec=small_spec(16, 14))) as ui:
        await look(ui)
        await ui.press("tab", "tab", "home", "end", *"jjjjjjjjjjjjjjjj")
        assert (ui.main.state.selection.layer, ui.main.state.selection.head) == (0, 13)
        assert "[]" in ui.shown("#heads"), f"the chosen head is out of state:\n{ui.shown('#heads')}"


async def test_another_engine_stands_beside_and_the_difference_is_signed() -> None:
    async with running_app(size=(200, 60)) as ui:
        await look(ui)
        ui.main.session.run_comparison(ComparisonRequest("torch", ModelOnEngine("fake", "torch")))
        await ui.until(lambda: ui.main.state.compared is not None and not ui.main.jobs.progress, "the run beside")
        compared, chosen = ui.main.state.compared, ui.main.state.selection
        assert compared is not None and compared.trace.tokens == ui.shown_run.trace.tokens[: ui.shown_run.trace.n_fed]
        other = ui.main.query_one("#comparison", AttentionMap)
        assert other.display and other.levels.shape == (ui.shown_run.trace.n_fed,) * 2
        own = ui.shown_run.trace.pattern(chosen.layer, chosen.head)
        difference = compared.trace.pattern(chosen.layer, chosen.head) - own
        value = abs(difference[chosen.token, chosen.key])
        assert f"{value:.3f}" in read_out(ui, "comparison-readout"), (
            f"{value} is not in {read_out(ui, 'comparison-readout')}"
        )
        await ui.press("v")
        token, key = np.unravel_index(np.abs(difference).argmax(), difference.shape)
        extreme = int(other.levels[token, key])
        assert extreme in (0, 31), f"the largest difference is drawn as level {extreme}, not at an end"
        assert (extreme == 31) == (difference[token, key] > 0), "the difference has the wrong sign"


async def test_x_ablates_the_chosen_head_in_a_run_beside_and_ends_that() -> None:
    async with running_app(size=(200, 60)) as ui:
        await look(ui)
        chosen = ui.main.state.selection
        await ui.press("x")
        await ui.until(
            lambda: ui.main.state.compared is not None and not ui.main.jobs.progress, "the run without the head"
        )
        compared = ui.main.state.compared
        edit = str(ScaleHead(chosen.layer, chosen.head, 0.0))
        assert compared is not None and compared.trace.edits == (edit,), f"the run beside was edited by {compared}"
        assert "ablated" in str(ui.main.query_one("#map-pane").border_title)
        await ui.press("x")
        assert ui.main.state.compared is None and not ui.main.state.edits, "the head is still ablated"


async def test_a_new_prompt_makes_the_run_beside_anew() -> None:
    async with running_app(size=(200, 60)) as ui:
        await look(ui)
        ui.main.session.run_comparison(ComparisonRequest("torch", ModelOnEngine("fake", "torch")))
        await ui.until(lambda: ui.main.state.compared is not None and not ui.main.jobs.progress, "the run beside")
        await ui.run("another prompt")
        await ui.until(lambda: ui.main.state.compared is not None and not ui.main.jobs.progress, "the next run beside")
        compared = ui.main.state.compared
        assert compared is not None and compared.trace.tokens[:2] == ui.shown_run.trace.tokens[:2], (
            "beside is the old text"
        )


async def test_a_long_text_shows_whole_by_its_peaks_or_cell_by_cell() -> None:
    async with running_app(size=(120, 42)) as ui:
        attention = await look(ui)
        assert attention.block == 1, "a short text is drawn in squares"
        rng = np.random.default_rng(0)
        attention.levels = rng.integers(0, 31, (512, 512)).astype(np.uint8)
        attention.levels[500, 3] = 31
        attention.levels = attention.levels
        assert attention.block > 1, "a long text does not show whole"
        row, column = 500 // attention.block, 3 // attention.block
        drawn = attention._drawn[row, column]
        assert drawn == 31, f"the peak of its square is 31, {drawn} is drawn"
        await ui.press("z")
        assert attention.block == 1 and attention.virtual_size.width > 500, "z does not show every cell"
