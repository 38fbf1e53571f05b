"""One curve or grid of a claim, with the color scale of a grid."""

from collections.abc import Iterator
from typing import TypeVar

from textual.containers import Vertical
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from edge.lab.claim import Curve
from edge.lab.claim import Grid as Numbers
from tui.widgets.lab.curve_plot import CurvePlot
from tui.widgets.lab.number_grid import NumberGrid
from tui.widgets.legend import Legend

F = TypeVar("F", bound="Figure")


class Figure(Vertical):
    """Passes the keyboard focus to the visible plot.

    Attributes:
        shown: The curve or grid; nothing where None.
    """

    DEFAULT_CSS = "Figure { height: 1fr; }"

    shown: reactive[Curve | Numbers | None] = reactive(None)

    class Read(Message):
        """Description of the cell at the cursor of a grid; empty for a curve."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def compose(self) -> Iterator[Widget]:
        yield CurvePlot(id="plot")
        yield NumberGrid(id="cells")
        yield Legend(id="cells-legend")

    def on_mount(self) -> None:
        self.watch_shown()

    def focus(self: F, scroll_visible: bool = True, from_app_focus: bool = False) -> F:
        self.plot.focus(scroll_visible)
        return self

    @property
    def plot(self) -> CurvePlot | NumberGrid:
        """The visible plot."""
        return self.query_one(NumberGrid) if isinstance(self.shown, Numbers) else self.query_one(CurvePlot)

    def show_notice(self, notice: str) -> None:
        """Shows a message instead of a plot."""
        self.query_one(CurvePlot).notice = notice

    def watch_shown(self) -> None:
        if not self.is_mounted:
            return
        curve, grid, legend = self.query_one(CurvePlot), self.query_one(NumberGrid), self.query_one(Legend)
        has_focus = curve.has_focus or grid.has_focus
        is_grid = isinstance(self.shown, Numbers)
        grid.display = legend.display = is_grid
        curve.display = not is_grid
        if isinstance(self.shown, Numbers):
            grid.grid = self.shown
            unit = self.shown.unit
            legend.note = f"rows: {self.shown.rows_title}, columns: {self.shown.columns_title}"
            legend.title, legend.scale = "share, 0 to 1" if unit == "share" else unit, grid.scale
        else:
            curve.curve = self.shown
        if has_focus:
            self.focus()
        self._post_description()

    def on_number_grid_pointed(self, message: NumberGrid.Pointed) -> None:
        message.stop()
        self._post_description()

    @property
    def description(self) -> str:
        """Description of the cell at the cursor."""
        plot = self.plot
        return plot.description if isinstance(plot, NumberGrid) else ""

    def _post_description(self) -> None:
        self.post_message(self.Read(self.description))
