"""Driving dialogs in tests: open one, choose from its lists, type into its fields."""

from pathlib import Path

from textual.widgets import Static

from tests.tui.app_driver import AppDriver
from tui.screens.dialog import Dialog, Field
from tui.screens.write import WriteScreen
from tui.widgets.choice_list import ChoiceList


async def open_dialog(ui: AppDriver, key: str, kind: type[Dialog]) -> Dialog:
    """Presses a key from the panes and waits for its dialog."""
    ui.main.shown_view.focus_pane()
    await ui.press(key)
    await ui.until(lambda: isinstance(ui.app.screen, kind), f"'{key}' to open its dialog")
    return ui.app.screen  # type: ignore[return-value]


def listed(dialog: Dialog, selector: str) -> list[str]:
    return [str(option.prompt) for option in dialog.query_one(selector, ChoiceList).options]


def note_of(dialog: Dialog) -> str:
    return str(dialog.query_one(".note", Static).render())


async def choose(ui: AppDriver, dialog: Dialog, selector: str, key: str) -> None:
    """Moves a list's cursor to a choice once it is there."""
    choices = dialog.query_one(selector, ChoiceList)
    await ui.until(lambda: key in [option.id for option in choices.options], f"'{key}' to be listed")
    choices.focus()
    choices.point_at(key)
    await ui.pilot.pause()


async def type_in(ui: AppDriver, dialog: Dialog, selector: str, text: str) -> None:
    field = dialog.query_one(selector, Field)
    field.focus()
    field.value = text
    await ui.press("enter")


async def written(ui: AppDriver, kind: str, path: Path) -> Path:
    """Writes one kind through the dialog."""
    dialog = await open_dialog(ui, "w", WriteScreen)
    await choose(ui, dialog, "#write-kinds", kind)
    await type_in(ui, dialog, "#write-path", str(path))
    await ui.until(path.exists, f"{path.name} to be written")
    await ui.until(lambda: any(str(path) in note.message for note in ui.app._notifications), "a word that it was")
    return path
