"""Lab: claims."""

from collections.abc import Iterator

from textual.widget import Widget

from edge.commands.tables import Table
from tui.sight import Sight
from tui.views.view import View
from tui.widgets.pane import Pane
from tui.widgets.sparsity_map import SparsityMap


class LabView(View):
    """Lab: claims."""

    title = "Lab"
    tabs = {"claims": "Lab"}

    def compose_panes(self) -> Iterator[Widget]:
        yield Pane("claims", "Lab", SparsityMap(id="claims"))

    def draw(self, sight: Sight) -> None:
        """Nothing yet."""

    def table(self, sight: Sight) -> Table | None:
        return None
