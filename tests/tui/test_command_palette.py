"""The command palette and the keys: everything is named, explained, and does what it says without breaking."""

import pytest
from textual.app import SystemCommand
from textual.binding import Binding
from textual.command import CommandList
from textual.dom import DOMNode

from models.zoo import zoo_names
from tests.tui.app_driver import AppDriver, running_app
from tui.command_palette import commands_of, nodes_of, title_of, works
from tui.options import Options
from tui.screens.dialog import Dialog
from tui.screens.error import ErrorScreen
from tui.views.all_views import VIEWS
from tui.widgets.choice_list import ChoiceList
from tui.widgets.frame.key_line import KeyLine
from tui.widgets.frame.prompt_box import PromptBox

FIRST = next(iter(VIEWS))
PROMPT = "Once upon a time there was a king"
SLOW = ("quit", "open", "engine")
"""Commands that end the app or load a model; they have separate tests."""


def bindings_of(node: DOMNode) -> list[Binding]:
    """The bindings of a widget, those that Textual gives to every one left out."""
    bindings = [binding for bindings in node._bindings.key_to_bindings.values() for binding in bindings]
    ours = [kind for kind in type(node).__mro__ if kind.__module__.startswith("tui.")]
    keys = {key for kind in ours for one in kind.__dict__.get("BINDINGS", ()) for key in one.key.split(",")}
    return [binding for binding in bindings if binding.key in keys]


def commands(ui: AppDriver) -> dict[str, SystemCommand]:
    return {command.title: command for command in commands_of(ui.main)}


def names(ui: AppDriver) -> set[str]:
    """What the keys on the key line are called."""
    return {key.does for key in ui.main.query_one(KeyLine).fitting() if key.press}


async def back_to_main(ui: AppDriver) -> None:
    """Closes whatever was opened."""
    while ui.app.screen is not ui.main:
        screen = ui.app.screen
        if isinstance(screen, ErrorScreen):
            assert "unexpected" not in screen._title, f"{screen._title}: {screen._text}"
        await ui.press("escape")
        assert ui.app.screen is not screen, f"escape does not close {screen}"


@pytest.mark.parametrize("view", VIEWS)
async def test_every_key_is_explained_and_in_the_palette_when_it_works(view: str) -> None:
    async with running_app(size=(120, 42)) as ui:
        await ui.run(PROMPT)
        ui.main.view = view
        await ui.pilot.pause()
        for pane in ui.main.shown_view.tabs:
            ui.main.shown_view.pane = pane
            await ui.pilot.pause()
            offered = commands(ui)
            for node in nodes_of(ui.main):
                for binding in bindings_of(node):
                    where = f"{binding.key} ({binding.action}) of {type(node).__name__}"
                    assert binding.description, f"{where} has no name"
                    assert binding.tooltip, f"{where} is not explained"
                    if works(ui.main, node, binding.action):
                        assert title_of(node, binding) in offered, f"{where} is not in the palette"


@pytest.mark.parametrize("view", VIEWS)
async def test_every_command_runs_from_the_palette_and_breaks_nothing(view: str) -> None:
    async with running_app(size=(120, 42)) as ui:
        await ui.run(PROMPT)
        elsewhere = set() if view == FIRST else set(commands(ui))  # what the first view offers is tested there
        ui.main.view = view
        await ui.pilot.pause()
        for title in [title for title in commands(ui) if not title.startswith(SLOW) and title not in elsewhere]:
            ui.main.view = view
            await ui.pilot.pause()
            command = commands(ui).get(title)
            if command is None:  # what it offered is done, or under way
                continue
            done = command.callback()
            if done is not None:
                await done
            await ui.pilot.pause()
            await back_to_main(ui)
            ui.main.runner.stop()
            await ui.idle()
            await back_to_main(ui)


async def test_keys_of_letters_are_in_the_palette_while_a_prompt_is_typed() -> None:
    async with running_app() as ui:
        await ui.run(PROMPT)
        ui.main.query_one(PromptBox).focus()
        await ui.pilot.pause()
        before = ui.main.state.options.color
        command = commands(ui)["show: color"]
        await command.callback()
        await ui.pilot.pause()
        assert ui.main.state.options.color != before, "a command chosen over the prompt did nothing"


async def test_the_palette_opens_finds_and_runs() -> None:
    async with running_app() as ui:
        await ui.run(PROMPT)
        await ui.press("ctrl+p", *"view: ffn")
        await ui.until(lambda: bool(ui.app.screen.query_one(CommandList).option_count), "a command to be found")
        await ui.press("enter", "enter")
        await ui.until(lambda: ui.main.view == "ffn", "the view to change")


async def test_every_engine_view_and_model_has_a_command() -> None:
    async with running_app() as ui:
        titles = commands(ui)
        for wanted in (
            "engine: onnx:int4",
            "engine: torch:bf16",
            "engine: mlx",
            "export: the model",
            "quit: leave Edge",
        ):
            assert wanted in titles, f"{wanted} is not in {sorted(titles)}"
        assert {f"open: {name}" for name in zoo_names()} <= titles.keys()
        assert {f"view: {kind.title}" for kind in VIEWS.values()} <= titles.keys()
        assert "engine: onnx" not in titles, "the engine at hand is offered as another"


async def test_what_does_not_work_now_is_not_offered() -> None:
    async with running_app() as ui:
        assert not [title for title in commands(ui) if title.startswith("compare")], (
            "a comparison is offered before a run"
        )
        assert "run: stop" not in commands(ui)


async def test_settings_can_be_reset() -> None:
    async with running_app() as ui:
        ui.main.shown_view.focus_pane()
        await ui.press("c", "y", "t")
        commands(ui)["settings: reset"].callback()
        await ui.pilot.pause()
        assert ui.app.theme == "edge-dark" and ui.main.state.options == Options()


@pytest.mark.parametrize("view", VIEWS)
async def test_the_key_line_does_by_mouse_what_it_says(view: str) -> None:
    async with running_app(size=(200, 60)) as ui:
        await ui.run(PROMPT)
        elsewhere = {"engine", "all"} | (set() if view == FIRST else names(ui))
        ui.main.view = view
        await ui.pilot.pause()
        for name in names(ui) - elsewhere:
            ui.main.view = view
            ui.main.shown_view.focus_pane()
            await ui.pilot.pause()
            line, at = ui.main.query_one(KeyLine), 0
            for key in line.fitting():
                if key.does == name:
                    await ui.pilot.click(line, offset=(at + 1, 0))
                    break
                at += key.cells
            await ui.pilot.pause()
            await back_to_main(ui)
            ui.main.runner.stop()
            await ui.idle()
            await back_to_main(ui)


async def test_every_dialog_closes_by_escape_and_lists_its_fields() -> None:
    async with running_app() as ui:
        await ui.run(PROMPT)
        for action in ("open", "compare", "write", "export"):
            await ui.app.run_action(action, ui.main)
            await ui.pilot.pause()
            dialog = ui.app.screen
            assert isinstance(dialog, Dialog) and dialog.query(ChoiceList), f"'{action}' asks nothing"
            assert "escape closes" in str(dialog.query_one(".frame").border_subtitle)
            await ui.press("escape")
            assert ui.app.screen is ui.main


async def test_over_a_dialog_the_palette_closes_it_or_quits() -> None:
    async with running_app() as ui:
        ui.main.shown_view.focus_pane()
        await ui.press("o")
        dialog = ui.app.screen
        await ui.press("ctrl+p", *"close")
        await ui.until(lambda: bool(ui.app.screen.query_one(CommandList).option_count), "a command to be found")
        await ui.press("enter", "enter")
        await ui.until(lambda: ui.app.screen is ui.main, "the dialog to close")
        assert not dialog.is_attached
