"""Every view at every size, theme and without color; and with texts that break terminals."""

from dataclasses import replace

import pytest

from tests.tui.app_driver import running_app
from tests.tui.drawn_lines import check_lines, colored
from tests.tui.fake_model import FakeModels, small_spec
from tui.views.all_views import VIEWS

PROMPT = "Once upon a time there was a king who had"
STYLES = (
    ((80, 24), "edge-dark"),
    ((80, 24), "no color"),
    ((120, 42), "edge-light"),
    ((200, 60), "edge-light"),
    ((200, 60), "no color"),
)


@pytest.mark.parametrize(("size", "look"), STYLES, ids=[f"{size[0]}x{size[1]}, {look}" for size, look in STYLES])
async def test_every_pane_of_every_view_draws(
    size: tuple[int, int], look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if look == "no color":
        monkeypatch.setenv("NO_COLOR", "1")
    async with running_app(size=size) as ui:
        if look != "no color":
            ui.app.theme = look
        await ui.run(PROMPT)
        for name in VIEWS:
            await ui.press(str(list(VIEWS).index(name) + 1))
            for pane in ui.main.shown_view.tabs:
                widget = ui.main.shown_view.query_one(f"#{ui.main.shown_view.pane}")
                assert widget.size.area > 0, f"{name}: pane {pane} has no room at {size}"
                check_lines(ui, f"{name} at {size}")
                await ui.press("tab")
            picture = ui.app.export_screenshot()
            if look == "no color":
                assert not (tinted := colored(picture)), f"{name} without color draws {sorted(tinted)[:5]}"


AWKWARD = {
    "wide glyphs": "王 様 は 幸 せ で す",
    "emoji": "a 👩‍👩‍👧‍👦 family 🏳️‍🌈 and ☃️",
    "right to left": "שלום עולם مرحبا بالعالم",
    "control characters": "a\x07b\x1b[31mred \x9b2J \t tab\u202e flipped",
    "markup": "[bold]not bold[/] [@click=quit]no link[/] ${x} {braces}",
    "combining marks": "Z̷͉͐a̵̢l̸̰g̶o e\u0301 \u200b zero",
}


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD)
async def test_texts_that_break_terminals_are_drawn_as_they_are(text: str) -> None:
    async with running_app(size=(100, 30)) as ui:
        await ui.run(text)
        for number in range(1, len(VIEWS) + 1):
            await ui.press(str(number), "left", "up", "h", "j", "left_square_bracket")
            check_lines(ui, f"{list(VIEWS)[number - 1]} with {text!r}")
        picture = ui.app.export_screenshot()
        assert "\x1b" not in picture and "\x07" not in picture, "a control character reached the terminal"


async def test_a_text_of_2048_tokens_shows_on_every_screen_and_can_be_walked() -> None:
    spec = replace(small_spec(), context=4096)
    async with running_app(FakeModels(spec=spec, holds=4096), size=(120, 42)) as ui:
        await ui.run(" ".join(f"w{number % 97}" for number in range(2048)))
        assert ui.shown_run.trace.n_fed > 2048
        for number, name in enumerate(VIEWS, 1):
            await ui.press(str(number), "left", "up", "home", "end", "l")
            before = ui.main.state.selection.token
            await ui.press("left_square_bracket")
            assert ui.main.state.selection.token == max(before - 1, 0), f"{name}: a step back from {before} went astray"
            check_lines(ui, f"{name} with 2,048 tokens")


async def test_a_terminal_that_is_too_small_says_so_and_comes_back() -> None:
    async with running_app(size=(100, 30)) as ui:
        await ui.run(PROMPT)
        await ui.pilot.resize_terminal(40, 10)
        await ui.pilot.pause()
        assert ui.main.query_one("#small").display and not ui.main.shown_view.size.area, "no message at 40x10"
        await ui.press("2", "3", "escape", "tab")
        await ui.pilot.resize_terminal(100, 30)
        await ui.pilot.pause()
        assert not ui.main.query_one("#small").display and ui.main.shown_view.size.area, "the screen did not come back"
        check_lines(ui, "after a resize")
