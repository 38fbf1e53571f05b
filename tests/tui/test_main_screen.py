"""The screen: prompts, runs, engines and keys, and their messages."""

from dataclasses import replace

from rich.cells import cell_len
from textual import events

from tests.tui.app_driver import AppDriver, running_app
from tests.tui.fake_model import FakeModels
from tui.help import KEYS, sections
from tui.screens.error import ErrorScreen
from tui.screens.help import HelpScreen
from tui.views.all_views import VIEWS
from tui.widgets.frame.token_strip import TokenStrip

PROMPT = "Once upon a time there was a king who had"
PROMPT_WORDS = len(PROMPT.split())


async def test_before_the_first_run_the_screen_says_what_to_do() -> None:
    async with running_app() as ui:
        assert "type a prompt" in ui.shown("#layers") and "enter" in ui.shown("#layers")
        header = ui.shown("HeaderBar")
        for words in ("fake", "onnx", "3 layers", "4 heads", "ready"):
            assert words in header, f"the header does not say {words!r}:\n{header}"


async def test_a_typed_prompt_runs_and_is_reported() -> None:
    async with running_app(size=(120, 40)) as ui:
        await ui.press(*"a king", "enter")
        await ui.until(
            lambda: ui.main.state.main is not None and ui.main.state.main.timing is not None, "the latencies"
        )
        await ui.idle()
        assert ui.shown_run.trace.prompt_length == 2
        assert "daughters" in ui.shown("#tokens"), "generated tokens do not show"
        header = ui.shown("HeaderBar")
        for words in ("ttft 12.3 ms", "167 tok/s while recording", "14/512 tokens", "recorded"):
            assert words in header, f"the header does not say {words!r}:\n{header}"
        assert "440 µs" in ui.shown("#layers"), "the layers do not tell what they cost"


async def test_digits_and_clicks_go_to_every_screen_and_the_selection_stays() -> None:
    async with running_app(size=(120, 40)) as ui:
        await ui.run(PROMPT)
        await ui.press("l", "l", "k")
        chosen = ui.main.state.selection
        for number, name in enumerate(VIEWS, 1):
            await ui.press(str(number))
            assert ui.main.view == name, f"{number} leads to {ui.main.view}"
            now = replace(ui.main.state.selection, neuron=chosen.neuron)  # the FFN view begins with the strongest
            assert ui.main.shown_view.display and now == chosen, f"{name} changed the selection"
        await ui.pilot.click("#views", offset=(16, 0))
        assert ui.main.view == "attention", "a click on a tab does not lead to its screen"


async def test_escape_stops_a_run_and_shows_how_far_it_came() -> None:
    async with running_app(FakeModels(pauses=True)) as ui:
        await ui.prompt(PROMPT)
        await ui.until(ui.fake_models.opened[0].is_pausing.is_set, "the run to be under way")
        assert "running" in ui.shown("HeaderBar")
        await ui.press("escape")
        await ui.until(lambda: ui.main.state.main is not None, "the trace so far")
        await ui.idle()
        assert len(ui.shown_run.trace.tokens) == PROMPT_WORDS + 3
        assert ui.shown_run.timing is None, "a run that was stopped is timed all the same"
        assert "stopped" in ui.shown("HeaderBar")


async def test_a_second_prompt_cancels_the_first() -> None:
    async with running_app(FakeModels(pauses=True)) as ui:
        await ui.prompt("the first")
        await ui.until(ui.fake_models.opened[0].is_pausing.is_set, "the first run to be under way")
        await ui.run("a second prompt")
        assert ui.shown_run.trace.prompt_length == 3, "the first run's trace shows"
        assert ui.shown_run.trace.finish == "length"
        assert len(ui.fake_models.opened[0].prompts) == 2


async def test_the_engine_switches_and_the_prompt_runs_again() -> None:
    async with running_app() as ui:
        await ui.run(PROMPT)
        first = ui.shown_run.trace
        for engine in ("torch", "mlx"):
            await ui.press("e")
            await ui.until(lambda: ui.shown_run.trace.engine == engine, f"the run on {engine}")  # noqa: B023
            await ui.idle()
        assert ui.shown_run.trace.tokens[:PROMPT_WORDS] == first.tokens[:PROMPT_WORDS]
        assert ui.fake_models.opened[0].closed.is_set(), "the engine left behind longest was not closed"
        assert not ui.fake_models.opened[1].closed.is_set(), "an engine that may be compared with was closed"
        assert "mlx" in ui.shown("HeaderBar")


async def test_the_next_engine_computes_in_the_same_precision_where_it_can() -> None:
    async with running_app() as ui:
        await ui.run(PROMPT)
        for begun, wanted in (
            ("onnx:int4-g64", ["torch:int4-g64", "mlx:int4-g64", "onnx:int4-g64"]),
            ("torch:bf16", ["mlx:bf16", "onnx", "torch"]),
        ):
            ui.main.action_engine(begun)
            for engine in (begun, *wanted):
                await ui.until(
                    lambda: _engine_of(ui) == engine,  # noqa: B023
                    f"{engine} to open",
                )
                await ui.idle()
                await ui.press("e")
            await ui.idle()


def _engine_of(ui: AppDriver) -> str:
    assert ui.main.session.target is not None
    return ui.main.session.target.engine


async def test_what_is_refused_is_said_and_the_last_run_stays() -> None:
    async with running_app() as ui:
        await ui.run(PROMPT)
        before = ui.shown_run.trace
        await ui.prompt("word " * 60)
        await ui.until(lambda: isinstance(ui.app.screen, ErrorScreen), "the refusal")
        assert "context holds 40" in str(ui.app.screen.query_one("Static").render())
        await ui.press("enter")
        assert ui.app.screen is ui.main and ui.shown_run.trace is before
        assert "daughters" in ui.shown("#tokens"), "the last run's tokens are gone"


async def test_an_engine_that_cannot_open_leaves_the_old_one() -> None:
    async with running_app() as ui:
        ui.main.action_engine("broken")
        await ui.until(lambda: isinstance(ui.app.screen, ErrorScreen), "the refusal")
        assert "pip install" in str(ui.app.screen.query_one("Static").render())
        await ui.press("escape")
        await ui.run(PROMPT)
        assert ui.shown_run.trace.engine == "onnx"


async def test_an_empty_prompt_is_refused_in_words() -> None:
    async with running_app() as ui:
        await ui.prompt("")
        await ui.until(lambda: isinstance(ui.app.screen, ErrorScreen), "the refusal")
        assert "the prompt is empty" in str(ui.app.screen.query_one("Static").render())


async def test_help_explains_the_current_pane_first() -> None:
    async with running_app() as ui:
        await ui.run(PROMPT)
        await ui.press("2", "tab", "tab", "question_mark")
        assert isinstance(ui.app.screen, HelpScreen)
        assert "heads" in str(ui.app.screen.query("Static").first().render()), "the help begins with another pane"
        await ui.press("escape")
        assert ui.app.screen is ui.main


def test_every_pane_is_explained_in_lines_that_fit_and_nothing_else_is() -> None:
    panes = {pane for kind in VIEWS.values() for pane in kind.tabs}
    explained = sections()
    unpaired = set(explained) ^ (panes | {KEYS, "tokens"})
    assert not unpaired, f"without help, or without a pane: {unpaired}"
    for pane, help in explained.items():
        assert help.title and "\n" not in help.title and help.text, f"the help of {pane} has no title or no text"
        # Paragraphs wrap; the indented lines of a table would lose their columns.
        widest = max((line for line in help.text.splitlines() if line.startswith(" ")), key=cell_len)
        assert cell_len(widest) <= 122, f"a line of {pane}'s help is {cell_len(widest)} cells: {widest}"


async def test_letters_belong_to_the_prompt_while_it_is_typed() -> None:
    async with running_app() as ui:
        await ui.press(*"seghe2?")
        assert ui.main.query_one("#prompt").value == "seghe2?"  # type: ignore[attr-defined]
        offered = {binding.binding.key for binding in ui.main.active_bindings.values()}
        assert not offered & {"s", "e", "h", "2", "question_mark"}, f"the footer offers {offered} to a typist"


async def test_a_wide_piece_keeps_the_strip_s_lines_whole() -> None:
    async with running_app() as ui:
        await ui.run("王 " * 30 + "x")
        strip = ui.main.query_one(TokenStrip)
        for y in range(strip.size.height):
            cells = strip.render_line(y).cell_length
            assert cells == strip.size.width, f"line {y} of the strip is {cells} cells of {strip.size.width}"


async def test_r_samples_or_decodes_greedily_and_the_prompt_shows_which() -> None:
    async with running_app() as ui:
        await ui.run(PROMPT)
        assert "sampled (temperature 0.8" in str(ui.main.query_one("#prompt").border_subtitle)
        await ui.press("r")
        assert "greedy" in str(ui.main.query_one("#prompt").border_subtitle)
        await ui.run(PROMPT)
        assert [sampling.temperature for sampling in ui.fake_models.opened[0].samplings] == [0.8, 0.0]


async def test_tokens_are_colored_by_one_number_after_another_and_the_legend_names_it() -> None:
    async with running_app(size=(120, 40)) as ui:
        await ui.run(PROMPT)
        reported = []
        for _ in range(5):
            await ui.press("c")
            reported.append(ui.shown("#tokens-legend").strip())
        for words in ("attention weight", "received", "exact zeros", "inter-token latency, ms"):
            assert any(words in line for line in reported), f"no color is {words!r}: {reported}"
        strip = ui.main.query_one(TokenStrip)
        assert len(strip.levels) == len(ui.shown_run.trace.tokens), "not every token has a place among the colors"


async def test_a_pasted_prompt_keeps_all_its_lines() -> None:
    async with running_app(size=(100, 30)) as ui:
        box = ui.main.query_one("#prompt")
        box.post_message(events.Paste("Once upon a time\r\nthere was \x1b[31ma king"))
        await ui.pilot.pause()
        assert box.value == "Once upon a time\nthere was \x1b[31ma king", "a paste lost or changed some of the text"  # type: ignore[attr-defined]
        drawn = box.render_line(0).text
        assert "time↵there" in drawn and "\x1b" not in drawn, f"drawn as {drawn!r}"
