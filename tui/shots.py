"""Pictures of every screen on a bundled model, for README and guide: `python -m tui.shots docs/shots`."""

import asyncio
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from textual.pilot import Pilot

from edge.engines.registry import installed_engines
from tui.app_factory import app_on_model, model_opener
from tui.comparison_request import ComparisonRequest
from tui.jobs.job import ModelOnEngine
from tui.main_screen import MainScreen
from tui.output_files import offline
from tui.theme import DARK, LIGHT
from tui.widgets.frame.prompt_box import PromptBox

MODEL = "fable-relu"
PROMPT = "Once upon a time there was a king who had"
COMPARED = "onnx:int4"
SIZES = ((200, 60), (80, 24))
THEMES = {"dark": DARK.name, "light": LIGHT.name}


@dataclass(frozen=True)
class Shot:
    """One screen.

    Attributes:
        keys: Pressed once, before its first picture, which waits for their jobs.
        is_paired: With a comparison run on another engine.
    """

    name: str
    keys: tuple[str, ...]
    is_paired: bool = False


SHOTS = (
    Shot("time", ("4", "m")),
    Shot("parity", ("5", "m", "b")),
    Shot("lab", ("6", "a")),
    Shot("layers", ("1",)),
    Shot("ffn", ("3", "k", "k", "k")),
    Shot("attention", ("2", "j", "j", "l", "v"), is_paired=True),
)
"""In an order in which later ones show results of earlier ones."""


async def draw(size: tuple[int, int], folder: Path) -> list[Path]:
    """Runs the prompt, then draws every screen in both themes."""
    app, runner = app_on_model(model_opener(None), ModelOnEngine(MODEL, "onnx"), installed_engines())
    written: list[Path] = []
    try:
        async with app.run_test(size=size) as pilot:
            await _run_prompt(pilot, app.main)
            for shot in SHOTS:
                await _prepare(pilot, app.main, shot)
                for theme, name in THEMES.items():
                    app.theme = name
                    await _idle(pilot, app.main)
                    picture = offline(app.export_screenshot(title=f"edge look {MODEL}"))
                    written.append(folder / f"{shot.name}-{size[0]}x{size[1]}-{theme}.svg")
                    written[-1].write_text(picture, encoding="utf8")
    finally:
        runner.close(60.0)
    return written


async def _run_prompt(pilot: Pilot[None], screen: MainScreen) -> None:
    while screen.state.model is None:
        await pilot.pause(0.05)
    screen.query_one(PromptBox).value = PROMPT
    await pilot.press("enter")
    while screen.state.main is None or screen.state.main.timing is None:
        await pilot.pause(0.05)
    await _idle(pilot, screen)


async def _prepare(pilot: Pilot[None], screen: MainScreen, shot: Shot) -> None:
    if shot.is_paired:
        screen.session.run_comparison(ComparisonRequest(COMPARED, ModelOnEngine(MODEL, COMPARED)))
        while screen.state.compared is None:
            await pilot.pause(0.05)
        await _idle(pilot, screen)
    elif screen.state.compared is not None:
        screen.session.run_comparison(None)
    for key in shot.keys:
        await pilot.press(key)
        await _idle(pilot, screen)


async def _idle(pilot: Pilot[None], screen: MainScreen) -> None:
    """Waits until jobs and background requests are done."""
    await pilot.pause(0.2)
    while screen.jobs.progress or screen.reader.is_busy:
        await pilot.pause(0.05)
    await pilot.pause(0.2)


def drawn(folder: Path) -> Iterator[Path]:
    """Every picture, as soon as it is written."""
    for size in SIZES:
        yield from asyncio.run(draw(size, folder))


def main() -> None:
    parser = ArgumentParser(prog="python -m tui.shots", description="Draw the pictures of the UI as SVG files.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/shots"), help="default: docs/shots")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for path in drawn(folder):
        print(path)


if __name__ == "__main__":
    main()
