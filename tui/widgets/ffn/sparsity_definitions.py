"""Sparsity of one FFN at one token by every definition."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from rich.segment import Segment
from textual import events
from textual.reactive import reactive
from textual.strip import Strip

from edge.measure.registry import MEASURES
from edge.picture.bars import bar
from tui.messages import OptionsChosen
from tui.options import Options
from tui.widgets.grid import Grid

_MARK, _TITLE, _NUMBER = 2, 13, 8


@dataclass(frozen=True)
class MeasuredDefinition:
    """One definition, measured.

    Attributes:
        write: Writes a value with its unit.
        value: At the chosen token, 0 to 1; NaN where it is not known.
        mean: Over all tokens of the layer; NaN where it is not known.
        meanings: What it measures, from the longest text to the shortest.
        missing: Why it is not known.
    """

    title: str
    write: Callable[[float], str]
    value: float
    mean: float
    meanings: tuple[str, ...]
    missing: str = ""

    def show(self, value: float) -> str:
        """A share in percent or an index; a dot where there is none."""
        if np.isnan(value):
            return "·"
        return self.write(value)


class SparsityDefinitions(Grid):
    """One row per definition; that of the map is marked.

    Attributes:
        rows: The definitions; those of `MEASURES` come first, in their order.
        options: The display options; up and down change the definition.
    """

    DEFAULT_CSS = "SparsityDefinitions { overflow-x: hidden; }"

    rows: reactive[tuple[MeasuredDefinition, ...]] = reactive(())
    options: reactive[Options] = reactive(Options)

    def watch_rows(self) -> None:
        self._resize()

    def watch_options(self) -> None:
        self.redraw()

    def on_resize(self) -> None:
        self._resize()

    def _resize(self) -> None:
        self.resize_body(self.view_cells, len(self.rows))

    @property
    def _cells(self) -> tuple[int, int]:
        """Width of a bar, and of the text."""
        left = self.view_cells - _MARK - _TITLE - 2 * _NUMBER - 2
        cells = min(max(left // 5, 4), 16)
        return cells, max(left - cells, 0)

    def draw_ruler(self) -> Strip:
        cells, room = self._cells
        words = f"  {'definition':<{_TITLE}}{'':<{cells}}{'token':>{_NUMBER}}{'mean':>{_NUMBER}}"
        parts = [self.text(words, self.view_cells - room, self.style_of("label"))]
        return self.fit([*parts, self.text("what it measures", room, self.style_of("label"))], self.width)

    def draw_body(self, line: int) -> Strip:
        row, (cells, room) = self.rows[line], self._cells
        is_chosen = line < len(MEASURES) and MEASURES[line] == self.options.sparsity
        style = self.style_of("chosen") if is_chosen else None
        meaning = row.missing or next((words for words in row.meanings if len(words) <= room), row.meanings[-1])
        parts: list[Segment] = [
            self.text("▸" if is_chosen else " ", _MARK, style),
            self.text(row.title, _TITLE, style),
            self.text(bar(row.value, cells), cells, self.style_of("first")),
            self.text(f"{row.show(row.value):>{_NUMBER}}", _NUMBER, style),
            self.text(f"{row.show(row.mean):>{_NUMBER}}  ", _NUMBER + 2, self.style_of("label")),
            self.text(meaning, room, self.style_of("label")),
        ]
        return self.fit(parts, self.view_cells)

    def action_move(self, down: int, right: int) -> None:
        self._choose(MEASURES.index(self.options.sparsity) + down)

    def on_click(self, event: events.Click) -> None:
        line = self.body_line(event)
        if line is not None and line < len(MEASURES):
            self._choose(line)

    def _choose(self, line: int) -> None:
        sparsity = MEASURES[min(max(line, 0), len(MEASURES) - 1)]
        self.post_message(OptionsChosen(replace(self.options, sparsity=sparsity)))
