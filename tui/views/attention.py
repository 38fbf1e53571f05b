"""Attention."""

from collections.abc import Iterator

from textual.widget import Widget

from edge.commands.tables import Table
from tui.sight import Sight
from tui.views.view import View
from tui.widgets.pane import Pane
from tui.widgets.attention_map import AttentionMap


class AttentionView(View):
    """Attention."""

    title = "Attention"
    tabs = {"map": "Attention"}

    def compose_panes(self) -> Iterator[Widget]:
        yield Pane("map", "Attention", AttentionMap(id="map"))

    def draw(self, sight: Sight) -> None:
        """Nothing yet."""

    def table(self, sight: Sight) -> Table | None:
        return None
