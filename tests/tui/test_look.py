"""The screen, driven by keys and mouse: a prompt fills every pane, and every choice shows."""

import numpy as np
import pytest

from tests.tui.driving import driven
from tests.tui.fake import WORDS, FakeShelf, small_spec
from tui.screens.help import HelpScreen
from tui.screens.trouble import TroubleScreen
from tui.widgets.attention_map import AttentionMap
from tui.widgets.head_grid import HeadGrid
from tui.widgets.panes import TABS
from tui.widgets.sparsity_map import SparsityMap
from tui.widgets.token_strip import TokenStrip

PROMPT = "Once upon a time there was a king who had"
PROMPT_WORDS = len(PROMPT.split())


async def test_before_the_first_run_the_screen_says_what_to_do() -> None:
    async with driven() as ui:
        assert "type a prompt above and press enter" in ui.shown("#map")
        header = ui.shown("HeaderBar")
        for words in ("fake", "onnx", "3 layers", "4 heads", "ready"):
            assert words in header, f"the header does not say {words!r}:\n{header}"


async def test_a_typed_prompt_fills_every_pane() -> None:
    async with driven() as ui:
        await ui.press(*"a king", "enter")
        await ui.until(lambda: ui.look.timing is not None, "the latencies")
        await ui.at_rest()
        assert ui.look.trace is not None and ui.look.trace.prompt_length == 2
        assert "daughters" in ui.shown("#tokens"), "generated tokens do not show"
        pictures: dict[str, str] = {}
        for name in TABS:
            picture = pictures[name] = ui.shown(f"#{name}")
            assert picture.strip() and not ui.look.query_one(f"#{name}").notice, f"pane {name} is empty:\n{picture}"
            await ui.press("tab")
        header = ui.shown("HeaderBar")
        for words in ("ttft 12.3 ms", "167 tok/s", "context 14/512", "watched"):
            assert words in header, f"the header does not say {words!r}:\n{header}"
        assert "440 µs" in pictures["time"], pictures["time"]


async def test_the_map_is_the_trace_s_own_pattern() -> None:
    async with driven() as ui:
        await ui.run(PROMPT)
        trace, chosen = ui.look.trace, ui.look.selection
        assert trace is not None
        pattern = trace.pattern(chosen.layer, chosen.head)
        levels = ui.look.query_one(AttentionMap).levels
        assert levels.shape == pattern.shape == (trace.n_fed, trace.n_fed)
        row = pattern[chosen.token]
        brightest = int(np.where(levels[chosen.token] < 32, levels[chosen.token], 0).argmax())
        assert np.isclose(row[brightest], row.max(), atol=1 / 31), "the brightest cell is not the largest weight"
        assert chosen.key == int(row.argmax()), "the cursor does not begin on what the last token reads most"
        value = f"{row[chosen.key]:.3f}"
        read_out = str(ui.look.query_one("#readout").render())
        assert value in read_out, f"the read-out is {read_out!r}, the pattern says {value}"


async def test_keys_choose_layer_and_head_and_the_map_follows() -> None:
    async with driven() as ui:
        await ui.run(PROMPT)
        before = ui.look.query_one(AttentionMap).levels.copy()
        chosen = ui.look.selection
        await ui.press("l")
        assert ui.look.selection.head == chosen.head + 1, "l does not choose the next head"
        assert not np.array_equal(before, ui.look.query_one(AttentionMap).levels), "the map kept the old head"
        await ui.press("k")
        assert ui.look.selection.layer == chosen.layer + 1, "k does not choose the layer above"
        await ui.press("j", "h")
        assert (ui.look.selection.layer, ui.look.selection.head) == (chosen.layer, chosen.head)
        assert np.array_equal(before, ui.look.query_one(AttentionMap).levels), "back at the head, another map"
        await ui.press(*"hhhhhhhjjjjjj")
        assert (ui.look.selection.layer, ui.look.selection.head) == (0, 0), "a choice left the model"


async def test_the_mouse_chooses_heads_cells_tokens_and_layers() -> None:
    async with driven(size=(200, 60)) as ui:
        await ui.run(PROMPT)
        heads = ui.look.query_one(HeadGrid)
        await ui.pilot.click(heads, offset=(heads.gutter_cells + 2 * heads.cell + 1, heads.ruler_lines))
        assert (ui.look.selection.layer, ui.look.selection.head) == (2, 2), f"clicked 2, 2: {ui.look.selection}"
        attention = ui.look.query_one(AttentionMap)
        x, line = attention.gutter_cells + 3 * attention.wide, attention.ruler_lines + (5 * attention.zoom + 1) // 2
        await ui.pilot.click(attention, offset=(x, line))
        assert (ui.look.selection.token, ui.look.selection.key) == (5, 3), f"clicked 5, 3: {ui.look.selection}"
        ffn = ui.look.query_one(SparsityMap)
        await ui.pilot.click(ffn, offset=(ffn.gutter_cells + 7 * ffn.cell, ffn.ruler_lines + 1))
        assert (ui.look.selection.token, ui.look.selection.layer) == (7, 1), f"clicked 7, layer 1: {ui.look.selection}"
        await ui.pilot.click(ui.look.query_one(TokenStrip), offset=(2, 1))
        assert ui.look.selection.token == 0, "a click on the first token does not choose it"
        bars = ui.look.query_one("#time")
        await ui.pilot.click(bars, offset=(12, 1))
        assert ui.look.selection.layer == 2, "a click on the top bar does not choose the last layer"


async def test_the_mouse_reads_out_without_choosing() -> None:
    async with driven(size=(200, 60)) as ui:
        await ui.run(PROMPT)
        attention, chosen = ui.look.query_one(AttentionMap), ui.look.selection
        await ui.pilot.hover(attention, offset=(attention.gutter_cells + 1, attention.ruler_lines + attention.zoom))
        await ui.pilot.pause()
        assert "mouse" in str(ui.look.query_one("#readout").render()), "resting the mouse on a cell reads nothing out"
        assert ui.look.selection == chosen, "resting the mouse on a cell chose it"


async def test_arrows_walk_the_map_and_the_read_out_follows() -> None:
    async with driven() as ui:
        await ui.run(PROMPT)
        await ui.press("j", "home", "up", "up", "left", "right")
        token, key = ui.look.selection.token, ui.look.selection.key
        assert ui.look.trace is not None
        value = ui.look.trace.pattern(ui.look.selection.layer, ui.look.selection.head)[token, key]
        read_out = str(ui.look.query_one("#readout").render())
        assert f"({token}) to" in read_out and f"({key})" in read_out, read_out
        assert f"{value:.3f}" in read_out or f"{value:.2g}" in read_out, f"{value} is not in {read_out!r}"
        await ui.press(*["right"] * 50)
        assert ui.look.selection.key == token, "the cursor went beyond the token itself, where nothing is read"


async def test_the_scale_turns_log_and_the_first_token_drops() -> None:
    async with driven() as ui:
        await ui.run(PROMPT)
        attention = ui.look.query_one(AttentionMap)
        linear = attention.levels.copy()
        await ui.press("s")
        assert attention.levels.astype(int).sum() > linear.astype(int).sum(), "a log scale does not lift faint weights"
        assert "log" in ui.shown("#map-legend"), ui.shown("#map-legend")
        await ui.press("s", "f")
        assert (attention.levels[:, 0] >= 32).all(), "the first token's column still shows"
        assert "first token left out" in ui.shown("#map-legend"), ui.shown("#map-legend")


async def test_sparsity_shows_numbers_and_both_definitions() -> None:
    async with driven() as ui:
        await ui.run(PROMPT)
        await ui.press("tab", "tab", "tab")
        overview, chosen = ui.look.overview, ui.look.selection
        assert overview is not None
        exact = f"{100 * overview.exact_zero[chosen.layer, chosen.token]:.1f}%"
        assert exact in ui.shown("#ffn"), f"{exact} is not in\n{ui.shown('#ffn')}"
        await ui.press("d")
        assert "top-p 0.9" in ui.shown("#ffn-legend")
        top_p = f"{100 * overview.top_p[chosen.layer, chosen.token]:.1f}%"
        assert top_p in ui.shown("#ffn"), f"{top_p} is not in\n{ui.shown('#ffn')}"


async def test_heads_are_scored_by_entropy_or_first_token_share() -> None:
    async with driven() as ui:
        await ui.run(PROMPT)
        await ui.press("tab")
        assert ui.look.overview is not None
        entropy = ui.look.overview.entropy_bits[2, 3]
        assert f"{entropy:.2f}"[:4] in ui.shown("#heads"), ui.shown("#heads")
        await ui.press("g")
        assert "first-token share" in ui.shown("#heads-legend")
        share = ui.look.overview.first_token_share[2, 3]
        assert f"{share:.3f}"[:4] in ui.shown("#heads"), ui.shown("#heads")


async def test_latency_states_total_coverage_gap_and_how_it_was_timed() -> None:
    async with driven() as ui:
        await ui.run(PROMPT)
        await ui.press("tab", "tab", "tab", "tab")
        words = str(ui.look.query_one("#time-sum").render())
        for part in ("total", "gap", "96.2%", "timed apart", "median of 20", "a made-up clock"):
            assert part in words, f"{part!r} is not said:\n{words}"
        assert "timed apart" in ui.shown("HeaderBar"), "the header calls the timed pane watched"


async def test_escape_stops_a_run_and_shows_how_far_it_came() -> None:
    async with driven(FakeShelf(pauses=True)) as ui:
        await ui.prompt(PROMPT)
        await ui.until(ui.shelf.opened[0].is_pausing.is_set, "the run to be under way")
        assert "running" in ui.shown("HeaderBar")
        await ui.press("escape")
        await ui.until(lambda: ui.look.trace is not None, "the trace so far")
        await ui.at_rest()
        assert ui.look.trace is not None and len(ui.look.trace.tokens) == PROMPT_WORDS + 3
        assert ui.look.timing is None, "a run that was stopped is timed all the same"
        assert "stopped" in ui.shown("HeaderBar")


async def test_a_second_prompt_cancels_the_first() -> None:
    async with driven(FakeShelf(pauses=True)) as ui:
        await ui.prompt("the first")
        await ui.until(ui.shelf.opened[0].is_pausing.is_set, "the first run to be under way")
        await ui.run("a second prompt")
        assert ui.look.trace is not None and ui.look.trace.prompt_length == 3, "the first run's trace shows"
        assert ui.look.trace.finish == "length"
        assert len(ui.shelf.opened[0].prompts) == 2


async def test_the_engine_switches_and_the_prompt_runs_again() -> None:
    async with driven() as ui:
        await ui.run(PROMPT)
        first = ui.look.trace
        await ui.press("e")
        await ui.until(lambda: ui.look.trace is not first, "the run on the next engine")
        await ui.at_rest()
        assert ui.look.trace is not None and ui.look.trace.engine == "torch"
        assert ui.look.trace.tokens[:PROMPT_WORDS] == first.tokens[:PROMPT_WORDS] if first else False
        assert ui.shelf.opened[0].closed.is_set(), "the engine left behind was not closed"
        assert "torch" in ui.shown("HeaderBar")


async def test_what_is_refused_is_said_and_the_last_run_stays() -> None:
    async with driven() as ui:
        await ui.run(PROMPT)
        kept = ui.look.trace
        await ui.prompt("word " * 60)
        await ui.until(lambda: isinstance(ui.app.screen, TroubleScreen), "the refusal")
        assert "context holds 40" in str(ui.app.screen.query_one("Static").render())
        await ui.press("enter")
        assert ui.app.screen is ui.look and ui.look.trace is kept
        assert "daughters" in ui.shown("#tokens"), "the last run's tokens are gone"


async def test_an_engine_that_cannot_open_leaves_the_old_one() -> None:
    async with driven() as ui:
        ui.look.action_engine("broken")
        await ui.until(lambda: isinstance(ui.app.screen, TroubleScreen), "the refusal")
        assert "pip install" in str(ui.app.screen.query_one("Static").render())
        await ui.press("escape")
        await ui.run(PROMPT)
        assert ui.look.trace is not None and ui.look.trace.engine == "onnx"


async def test_an_empty_prompt_is_refused_in_words() -> None:
    async with driven() as ui:
        await ui.prompt("")
        await ui.until(lambda: isinstance(ui.app.screen, TroubleScreen), "the refusal")
        assert "the prompt is empty" in str(ui.app.screen.query_one("Static").render())


async def test_help_explains_the_pane_at_hand_first() -> None:
    async with driven() as ui:
        await ui.run(PROMPT)
        await ui.press("tab", "tab", "tab", "question_mark")
        assert isinstance(ui.app.screen, HelpScreen)
        assert "FFN" in str(ui.app.screen.query("Static").first().render()), "the help begins with another pane"
        await ui.press("escape")
        assert ui.app.screen is ui.look


async def test_letters_belong_to_the_prompt_while_it_is_typed() -> None:
    async with driven() as ui:
        await ui.press(*"seghe?")
        assert ui.look.query_one("#prompt").value == "seghe?"  # type: ignore[attr-defined]
        offered = {binding.binding.key for binding in ui.look.active_bindings.values()}
        assert not offered & {"s", "e", "h", "question_mark"}, f"the footer offers {offered} to a typist"


@pytest.mark.parametrize(
    ("size", "theme", "colour"),
    [
        ((80, 24), "edge-dark", "no colour"),
        ((80, 24), "edge-light", "colour"),
        ((120, 42), "edge-dark", "colour"),
        ((200, 60), "edge-light", "colour"),
        ((200, 60), "edge-dark", "no colour"),
    ],
)
async def test_every_pane_draws_at_every_size_theme_and_without_colour(
    size: tuple[int, int], theme: str, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if colour == "no colour":
        monkeypatch.setenv("NO_COLOR", "1")
    async with driven(size=size) as ui:
        ui.app.theme = theme
        await ui.run(PROMPT)
        for name in TABS:
            widget = ui.look.query_one(f"#{name}")
            assert widget.size.area > 0, f"pane {name} has no room at {size}"
            for line in ui.shown(f"#{name}").split("\n"):
                assert len(line.encode("utf-16-le")) // 2 <= widget.size.width + 1, f"pane {name} overflows: {line!r}"
            await ui.press("tab")
        await ui.press("question_mark")
        picture = ui.app.export_screenshot()
        if colour == "no colour":
            assert not (tinted := coloured(picture)), f"without colour, these are drawn: {sorted(tinted)[:5]}"


def coloured(svg: str) -> set[str]:
    """Colours in a picture that are no grey, those of the frame around it left out."""
    import re

    found = set(re.findall(r'fill="#([0-9a-f]{6})"|fill: #([0-9a-f]{6})', svg))
    colours = {one or other for one, other in found} - {"ff5f57", "febc2e", "28c840", "c5c8c6"}
    return {colour for colour in colours if len({colour[:2], colour[2:4], colour[4:]}) > 1}


async def test_many_layers_and_heads_scroll_to_the_chosen_one() -> None:
    async with driven(FakeShelf(spec=small_spec(16, 14))) as ui:
        await ui.run(PROMPT)
        await ui.press("tab", "home", "end", *"jjjjjjjjjjjjjjjj")
        assert (ui.look.selection.layer, ui.look.selection.head) == (0, 13)
        assert "[]" in ui.shown("#heads"), f"the chosen head is out of sight:\n{ui.shown('#heads')}"


async def test_a_wide_piece_keeps_the_strip_s_lines_whole() -> None:
    async with driven() as ui:
        await ui.run("王 " * 30 + "x")
        strip = ui.look.query_one(TokenStrip)
        for y in range(strip.size.height):
            cells = strip.render_line(y).cell_length
            assert cells == strip.size.width, f"line {y} of the strip is {cells} cells of {strip.size.width}"
        assert WORDS


async def test_r_draws_or_takes_the_likeliest_and_the_prompt_says_which() -> None:
    async with driven() as ui:
        await ui.run(PROMPT)
        assert "drawn at 0.8" in str(ui.look.query_one("#prompt").border_subtitle)
        await ui.press("r")
        assert "greedy" in str(ui.look.query_one("#prompt").border_subtitle)
        await ui.run(PROMPT)
        assert [sampling.temperature for sampling in ui.shelf.opened[0].samplings] == [0.8, 0.0]
