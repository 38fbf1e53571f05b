"""Driving the UI in tests: open it, wait for what is awaited, read what a widget shows."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from textual.pilot import Pilot
from textual.strip import Strip
from textual.widget import Widget

from tests.tui.fake_model import FakeModels
from tui.app import EdgeApp
from tui.app_factory import app_on_model
from tui.jobs.job import ModelOnEngine
from tui.main_screen import MainScreen
from tui.runner import Runner
from tui.view_state import MeasuredRun
from tui.widgets.frame.header_bar import HeaderBar

PATIENCE_S = 120.0
ENGINES = ("onnx", "torch", "mlx")


@dataclass
class AppDriver:
    """The app under test."""

    app: EdgeApp
    main: MainScreen
    pilot: Pilot[None]
    fake_models: FakeModels
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
        await self.idle()

    def _is_timed(self, before: MeasuredRun | None) -> bool:
        shown = self.main.state.main
        return shown is not None and shown is not before and shown.timing is not None

    @property
    def shown_run(self) -> MeasuredRun:
        """The current run."""
        assert self.main.state.main is not None, "no run shows"
        return self.main.state.main

    async def idle(self) -> None:
        await self.until(lambda: self.main.query_one(HeaderBar).progress == "", "the runner to rest")

    def shown(self, selector: str) -> str:
        """What a line widget draws, as text."""
        return lines_of(self.main.query_one(selector))


def lines_of(widget: Widget) -> str:
    strips: list[Strip] = [widget.render_line(y) for y in range(widget.size.height)]
    return "\n".join(strip.text for strip in strips)


@asynccontextmanager
async def running_app(
    fake_models: FakeModels | None = None, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[AppDriver]:
    """The app with a loaded fake model."""
    fake_models = fake_models or FakeModels()
    app, runner = app_on_model(fake_models.open, ModelOnEngine("fake", "onnx"), ENGINES)
    try:
        async with app.run_test(size=size) as pilot:
            driving = AppDriver(app, app.main, pilot, fake_models, runner)
            await driving.until(lambda: app.main.state.model is not None, "the model to load")
            await driving.idle()
            yield driving
    finally:
        assert runner.close(PATIENCE_S), "the runner's thread outlived the app"
