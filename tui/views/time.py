"""Time: what each sublayer costs."""

from collections.abc import Iterator

from textual.widget import Widget

from edge.commands.tables import Table
from tui.sight import Sight
from tui.views.view import View
from tui.widgets.pane import Pane
from tui.widgets.latency_bars import LatencyBars


class TimeView(View):
    """Time: what each sublayer costs."""

    title = "Time"
    tabs = {"time": "Time"}

    def compose_panes(self) -> Iterator[Widget]:
        yield Pane("time", "Time", LatencyBars(id="time"))

    def draw(self, sight: Sight) -> None:
        """Nothing yet."""

    def table(self, sight: Sight) -> Table | None:
        return None
