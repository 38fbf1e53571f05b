"""The widgets of the main screen, from top to bottom."""

from collections.abc import Iterator

from textual.widget import Widget
from textual.widgets import ContentSwitcher, Static

from tui.views.all_views import VIEWS
from tui.views.prediction_change import EffectLine
from tui.widgets.frame.header_bar import HeaderBar
from tui.widgets.frame.key_line import KeyLine
from tui.widgets.frame.pane_tabs import PaneTabs
from tui.widgets.frame.prompt_box import PromptBox
from tui.widgets.frame.token_strip import TokenStrip
from tui.widgets.legend import Legend


def main_widgets(view: str) -> Iterator[Widget]:
    """Header, prompt, tokens, the effect of edits, the tabs of the views, the view named `view`, and the keys."""
    yield HeaderBar()
    yield PromptBox()
    yield TokenStrip(id="tokens")
    yield Legend(id="tokens-legend")
    yield EffectLine(id="effect")
    tabs = {name: f"{number} {kind.title}" for number, (name, kind) in enumerate(VIEWS.items(), 1)}
    yield PaneTabs(tabs, id="views")
    yield ContentSwitcher(*(kind(name) for name, kind in VIEWS.items()), initial=f"{view}-view")
    yield Static("the terminal is too small: Edge needs 60 columns and 18 lines", id="small")
    yield KeyLine()
