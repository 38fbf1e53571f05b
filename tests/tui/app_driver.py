"""Driving the UI in tests: open it, wait for what is awaited, read what a widget shows."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from textual.pilot import Pilot
from textual.strip import Strip
from textual.widget import Widget

from tests.tui.fake import FakeShelf
from tui.app import EdgeApp
from tui.build import build
from tui.jobs.job import Place
from tui.runner import Runner
from tui.screens.main import MainScreen
from tui.view_state import Shown
from tui.widgets.header_bar import HeaderBar

PATIENCE_S = 120.0
ENGINES = ("onnx", "torch", "mlx")


@dataclass
class Driven:
    """The app under test."""

    app: EdgeApp
    main: MainScreen
    pilot: Pilot[None]
    shelf: FakeShelf
    runner: Runner

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Lets the app work until something holds."""
        deadline_s = monotonic() + PATIENCE_S
        while not holds():
            assert monotonic() < deadline_s, f"waited {PATIENCE_S:.0f} s in vain: {what}"
            await self.pilot.pause()
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def prompt(self, text: str) -> None:
        """Types a prompt and presses enter."""
        self.main.query_one("#prompt").focus()
        await self.pilot.pause()
        self.main.query_one("#prompt").value = text  # type: ignore[attr-defined]
        await self.press("enter")

    async def run(self, text: str) -> None:
        """Runs a prompt and waits until everything shows."""
        before = self.main.state.main
        await self.prompt(text)
        await self.until(lambda: self._is_timed(before), "the latencies of the run")
        await self.at_rest()

    def _is_timed(self, before: Shown | None) -> bool:
        shown = self.main.state.main
        return shown is not None and shown is not before and shown.timing is not None

    @property
    def shown_run(self) -> Shown:
        """The current run."""
        assert self.main.state.main is not None, "no run shows"
        return self.main.state.main

    async def at_rest(self) -> None:
        await self.until(lambda: self.main.query_one(HeaderBar).doing == "", "the runner to rest")

    def shown(self, selector: str) -> str:
        """What a line widget draws, as text."""
        return lines_of(self.main.query_one(selector))


def lines_of(widget: Widget) -> str:
    strips: list[Strip] = [widget.render_line(y) for y in range(widget.size.height)]
    return "\n".join(strip.text for strip in strips)


@asynccontextmanager
async def driven(shelf: FakeShelf | None = None, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Driven]:
    """The app with a loaded fake model."""
    shelf = shelf or FakeShelf()
    app, runner = build(shelf.open, Place("fake", "onnx"), ENGINES)
    try:
        async with app.run_test(size=size) as pilot:
            driving = Driven(app, app.main, pilot, shelf, runner)
            await driving.until(lambda: app.main.state.facts is not None, "the model to load")
            await driving.at_rest()
            yield driving
    finally:
        assert runner.close(PATIENCE_S), "the runner's thread outlived the app"
