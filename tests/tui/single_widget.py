"""One widget alone in a terminal, for tests of what it draws."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

from textual.app import App
from textual.pilot import Pilot
from textual.widget import Widget

W = TypeVar("W", bound=Widget)


class SingleWidgetApp(App[None]):
    """One widget that fills the terminal."""

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget = widget

    def compose(self) -> Iterator[Widget]:
        yield self.widget


@asynccontextmanager
async def single_widget(widget: W, size: tuple[int, int] = (100, 24)) -> AsyncIterator[tuple[W, Pilot[None]]]:
    async with SingleWidgetApp(widget).run_test(size=size) as pilot:
        widget.focus()
        await pilot.pause()
        yield widget, pilot


def assert_whole(widget: Widget) -> None:
    """Every line is as wide as the widget, and styled."""
    for y in range(widget.size.height):
        strip = widget.render_line(y)
        assert strip.cell_length == widget.scrollable_content_region.width, (
            f"line {y} has {strip.cell_length} cells: {strip.text}"
        )
        assert all(segment.style is not None for segment in strip), f"line {y} has text without a style"
