"""All views, in the order of their digit keys."""

from tui.views.attention import AttentionView
from tui.views.ffn import FfnView
from tui.views.lab import LabView
from tui.views.layers import LayersView
from tui.views.parity import ParityView
from tui.views.time import TimeView
from tui.views.view import View

VIEWS: dict[str, type[View]] = {
    "layers": LayersView,
    "attention": AttentionView,
    "ffn": FfnView,
    "time": TimeView,
    "parity": ParityView,
    "lab": LabView,
}
