"""Parity: engines beside each other."""

from collections.abc import Iterator

from textual.widget import Widget

from edge.commands.tables import Table
from tui.sight import Sight
from tui.views.view import View
from tui.widgets.pane import Pane
from tui.widgets.sparsity_map import SparsityMap


class ParityView(View):
    """Parity: engines beside each other."""

    title = "Parity"
    tabs = {"sites": "Parity"}

    def compose_panes(self) -> Iterator[Widget]:
        yield Pane("sites", "Parity", SparsityMap(id="sites"))

    def draw(self, sight: Sight) -> None:
        """Nothing yet."""

    def table(self, sight: Sight) -> Table | None:
        return None
