"""What the terminal UI draws on a bundled model: six screens and the dialogs, narrow and wide, and the palette."""

import re
from collections.abc import Iterator

from textual.screen import Screen
from textual.widget import Widget

import edge
from models.progress import Progress
from tests.tui.app_driver import AppDriver, lines_of, running_app
from tests.words.piece import Piece
from tui.command_palette import commands_of
from tui.views.all_views import VIEWS
from tui.views.prediction_change import EffectLine

SIZES = ((80, 24), (200, 60))
PROMPT = "Once upon a time there was a king who had"
DIALOGS = {"o": "open", "d": "compare", "w": "write", "question_mark": "help"}

_TOKEN = re.compile(r"'[^'\n]{1,24}'")
"""A token of the model in quotes: its text is not ours."""

_BORDER = re.compile(r"[│┃╭╮╰╯─━┏┓┗┛▕▏]+")


class Bundled:
    """Opens a bundled model, whatever it is asked for."""

    def open(self, model: str, engine: str, progress: Progress) -> edge.Model:
        return edge.load("fable-relu", engine, threads=1, progress=progress)


async def pieces() -> list[Piece]:
    """Every screen after a run, and two of them with a head ablated; the dialogs; the palette."""
    found: list[Piece] = []
    async with running_app(Bundled(), size=SIZES[0]) as ui:  # type: ignore[arg-type]
        await ui.run(PROMPT)
        for number in range(1, len(VIEWS) + 1):
            found += await _narrow(ui, str(number))
        await ui.pilot.resize_terminal(*SIZES[1])
        for number in range(1, len(VIEWS) + 1):
            found += await _view(ui, str(number), SIZES[1])
        found += await _dialogs(ui)
        await ui.press("2", "x")
        await ui.until(lambda: ui.main.query_one(EffectLine).has_class("on"), "an edit to show its effect")
        await ui.idle()
        for number in "12":
            found += await _view(ui, number, SIZES[1], " with an edit")
    return found


async def _narrow(ui: AppDriver, number: str) -> list[Piece]:
    """Every pane of a view that shows one at a time, and the commands that the palette lists there."""
    await ui.press(number)
    found: list[Piece] = []
    for _ in ui.main.shown_view.tabs:
        found += texts_of(ui.main, _source(ui, SIZES[0]))
        await ui.press("tab")
    palette = f"palette on {ui.main.shown_view.title}"
    return [*found, *(Piece(palette, 0, f"{one.title}. {one.help}") for one in commands_of(ui.main))]


async def _view(ui: AppDriver, number: str, size: tuple[int, int], after: str = "") -> list[Piece]:
    await ui.press(number)
    return list(texts_of(ui.main, _source(ui, size) + after))


def _source(ui: AppDriver, size: tuple[int, int]) -> str:
    return f"screen {ui.main.shown_view.title} at {size[0]}x{size[1]}"


async def _dialogs(ui: AppDriver) -> list[Piece]:
    """What each key asks; none where it opens nothing now."""
    found: list[Piece] = []
    for key, name in DIALOGS.items():
        ui.main.shown_view.focus_pane()
        await ui.press(key)
        if ui.app.screen is not ui.main:
            found += texts_of(ui.app.screen, f"dialog {name}")
            await ui.press("escape")
    return found


def texts_of(screen: Screen[object], source: str) -> Iterator[Piece]:
    """Lines, titles and tooltips of every widget that shows."""
    for widget in [screen, *screen.query("*")]:
        if not widget.display or widget.size.area == 0:
            continue
        for text in _of(widget):
            if text and text.strip():
                yield Piece(source, 0, _TOKEN.sub("''", _BORDER.sub("\n", text)))


def _of(widget: Widget) -> Iterator[str]:
    yield str(widget.border_title or "")
    yield str(widget.border_subtitle or "")
    yield str(widget.tooltip or "")
    if not any(child.display for child in widget.children):
        yield "\n".join(line.rstrip() for line in lines_of(widget).splitlines())
