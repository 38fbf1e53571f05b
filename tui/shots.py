"""Pictures of every screen on bundled models, for README and guide: `python -m tui.shots docs/shots`."""

import asyncio
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
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


SHOTS = {
    "fable-relu": (
        Shot("time", ("4", "m")),
        Shot("parity", ("5", "m", "b")),
        Shot("lab", ("6", "a")),
        Shot("layers", ("1",)),
        Shot("ffn", ("3", "k", "k", "k")),
        Shot("attention", ("2", "j", "j", "l", "v"), is_paired=True),
    ),
    "fable-moe": (Shot("experts", ("3", "j", "j", "j", "shift+tab")),),
}
"""By model, in an order in which later ones show results of earlier ones."""


async def draw(model: str, size: tuple[int, int], folder: Path) -> list[Path]:
    """Runs the prompt, then draws every screen in both themes."""
    app, runner = app_on_model(model_opener(None), ModelOnEngine(model, "onnx"), installed_engines())
    written: list[Path] = []
    try:
        async with app.run_test(size=size) as pilot:
            await _run_prompt(pilot, app.main)
            for shot in SHOTS[model]:
                await _prepare(pilot, app.main, ModelOnEngine(model, COMPARED), shot)
                for theme, name in THEMES.items():
                    app.theme = name
                    await _idle(pilot, app.main)
                    picture = offline(app.export_screenshot(title=f"edge look {model}"))
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


async def _prepare(pilot: Pilot[None], screen: MainScreen, other: ModelOnEngine, shot: Shot) -> None:
    if shot.is_paired:
        screen.session.run_comparison(ComparisonRequest(COMPARED, other))
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


def drawn(models: Sequence[str], folder: Path) -> Iterator[Path]:
    """Every picture of some models, as soon as it is written."""
    for model in models:
        for size in SIZES:
            yield from asyncio.run(draw(model, size, folder))


def main() -> None:
    parser = ArgumentParser(prog="python -m tui.shots", description="Draw the pictures of the UI as SVG files.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/shots"), help="default: docs/shots")
    parser.add_argument("--model", action="append", choices=SHOTS, help="only pictures of this model; default: all")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    for path in drawn(asked.model or list(SHOTS), asked.folder):
        print(path)


if __name__ == "__main__":
    main()
