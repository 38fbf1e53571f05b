"""Pictures of the UI on a bundled model, for the README: `python -m tui.shots docs/shots`."""

import asyncio
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from textual.pilot import Pilot

import edge
from edge.engines.registry import Progress, installed_engines
from tui.app import build
from tui.screens.look import LookScreen
from tui.widgets.header_bar import HeaderBar
from tui.widgets.prompt_box import PromptBox

MODEL = "fable-relu"
PROMPT = "Once upon a time there was a king who had"
FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


@dataclass(frozen=True)
class Shot:
    """One picture.

    Attributes:
        size: Cells and lines.
        keys: Pressed after the run.
    """

    name: str
    size: tuple[int, int]
    theme: str
    keys: tuple[str, ...]


SHOTS = (
    Shot("look", (150, 46), "edge-dark", ("l", "s")),
    Shot("look-light", (150, 46), "edge-light", ("l", "s")),
    Shot("look-80x24", (80, 24), "edge-dark", ("l", "s")),
)


async def draw(shot: Shot, folder: Path) -> Path:
    """Runs the prompt, waits until every pane is full, and writes one SVG."""

    def open_model(engine: str, progress: Progress) -> edge.Model:
        return edge.load(MODEL, engine, progress=progress)

    app, runner = build(open_model, "onnx", installed_engines())
    try:
        async with app.run_test(size=shot.size) as pilot:
            app.theme = shot.theme
            await _until_full(pilot, app.look)
            await pilot.press(*shot.keys)
            await pilot.pause()
            picture = app.export_screenshot(title=f"edge look {MODEL}")
    finally:
        runner.close(60.0)
    path = folder / f"{shot.name}.svg"
    path.write_text(_offline(picture), encoding="utf8")
    return path


async def _until_full(pilot: Pilot[None], look: LookScreen) -> None:
    while look.facts is None:
        await pilot.pause(0.05)
    look.query_one(PromptBox).value = PROMPT
    await pilot.press("enter")
    while look.timing is None or look.query_one(HeaderBar).doing:
        await pilot.pause(0.05)


def _offline(svg: str) -> str:
    """Without the fonts that Rich's pictures fetch from a server."""
    svg = re.sub(r"@font-face\s*{.*?}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"font-family: [^;]*;", f"font-family: {FONTS};", svg)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/shots")
    folder.mkdir(parents=True, exist_ok=True)
    for shot in SHOTS:
        print(asyncio.run(draw(shot, folder)))


if __name__ == "__main__":
    main()
