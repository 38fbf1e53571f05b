"""Draws what every screen shows of the current run: its tokens, and the header."""

import numpy as np

from edge.picture.levels import to_levels
from tui.coloring import token_values
from tui.view_state import MeasuredRun, ViewState
from tui.widgets.frame.header_bar import HeaderBar
from tui.widgets.frame.token_strip import TokenStrip
from tui.widgets.legend import Legend


def draw_tokens(state: ViewState, main: MeasuredRun, strip: TokenStrip, legend: Legend) -> None:
    """Draws the tokens, colored by the chosen metric."""
    values = token_values(main, state.selection, state.options)
    strip.notice, strip.prompt_length, strip.pieces = "", main.trace.prompt_length, main.trace.pieces
    strip.chosen, strip.palette = state.selection.token, state.options.palette
    levels = to_levels(values.values, values.scale) if values.scale else strip.levels[:0]
    if not np.array_equal(levels, strip.levels):
        strip.levels = levels
    legend.title, legend.scale, legend.palette = values.title, values.scale, state.options.palette


def draw_header(state: ViewState, main: MeasuredRun, header: HeaderBar) -> None:
    """Names the current run, what it is compared with, and the active edits."""
    if header.trace is not main.trace:
        header.trace = main.trace
    header.live = None
    header.compared = state.compared.title if state.compared and not state.edits else ""
    header.edits = tuple(map(str, state.edits))
