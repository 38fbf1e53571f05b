"""Checks of what is drawn in tests: whole lines, and no color where none is expected."""

import re

from tests.tui.app_driver import AppDriver
from tui.widgets.grid import Grid


def check_lines(ui: AppDriver, where: str) -> None:
    """Every line of every picture is as wide as its widget, scrollbars left out, and styled."""
    for grid in ui.main.shown_view.query(Grid):
        if grid.size.area == 0:
            continue
        for y in range(grid.size.height):
            line = grid.render_line(y)
            assert line.cell_length == grid.width, f"{where}: line {y} of #{grid.id} is {line.cell_length} cells"
            assert all(segment.style is not None for segment in line), f"{where}: line {y} of #{grid.id} has no style"


def colored(svg: str) -> set[str]:
    """Colors in a picture other than gray, those of the frame around it left out."""
    found = set(re.findall(r'fill="#([0-9a-f]{6})"|fill: #([0-9a-f]{6})', svg))
    colors = {one or other for one, other in found} - {"ff5f57", "febc2e", "28c840", "c5c8c6"}
    return {color for color in colors if len({color[:2], color[2:4], color[4:]}) > 1}
