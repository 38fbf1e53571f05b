"""Every law: a mark, what it says, its verdict, and the worst number beside the tolerance."""

from dataclasses import dataclass
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from edge.laws.registry import Law
from edge.laws.result import LawResult
from edge.picture.units import show_error, show_tolerance
from tui.widgets.grid import Grid

_VERDICT, _WORST, _TOLERANCE = 13, 9, 8

IN_FULL = 4
"""Lines of a law where all of them have room in full."""


@dataclass(frozen=True)
class Standing:
    """A law, and how it stands on one engine.

    Attributes:
        found: None before it was checked.
        waits: Laws that come before it; 0 is under way, None where it is not wanted.
    """

    law: Law
    found: LawResult | None = None
    waits: int | None = None

    @property
    def mark(self) -> str:
        if self.waits == 0:
            return "…"
        if self.found is None:
            return "◌"
        return "–" if self.found.passed is None else "●" if self.found.passed else "○"

    @property
    def words(self) -> str:
        """The verdict, or what is awaited."""
        if self.waits is not None:
            return "waits" if self.waits else "checking …"
        if self.found is None:
            return "not checked"
        return {True: "pass", False: "fail", None: "skipped"}[self.found.passed]

    @property
    def worst(self) -> str:
        """The worst relative difference; a dash where there is none."""
        if self.found is None or self.found.passed is None:
            return "–"
        return show_error(self.found.worst) if self.found.worst == self.found.worst else "no number"

    @property
    def place(self) -> str:
        """Where what was found is; empty where nothing was."""
        if self.found is None:
            return ""
        verdict = {True: "at most there", False: "first there", None: "skipped"}[self.found.passed]
        return f"{verdict}: {self.found.where} ({self.found.tokens} tokens)"

    def about(self, tokens: str) -> str:
        """The law in full: how it is checked, what was found and where; or what it would be checked on."""
        way = "enter or m compares engines" if self.law.check is None else f"enter checks it, b all, on {tokens}"
        return f"{self.law.number}  {self.law.statement}\n{self.law.method}\n{self.place or way}"


class LawList(Grid):
    """Laws in the order of their numbers.

    Attributes:
        standings: Every law.
        chosen: The number of one.
    """

    DEFAULT_CSS = """
    LawList {
        overflow-x: hidden;
        &> .law-list--holds { color: $success; }
        &> .law-list--broken { color: $error; text-style: bold; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"law-list--holds", "law-list--broken"}

    standings: reactive[tuple[Standing, ...]] = reactive(())
    chosen: reactive[int] = reactive(1)

    class Chosen(Message):
        """A law, by its number."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def watch_standings(self) -> None:
        self._place()

    def on_resize(self) -> None:
        self._place()

    def watch_chosen(self) -> None:
        self._show_chosen()
        self.redraw()

    def _place(self) -> None:
        self.resize_body(self.view_cells, len(self.standings) * self.lines_each)
        self._show_chosen()

    @property
    def lines_each(self) -> int:
        """Lines of one law: with how it is checked and where the worst is, if all have room for that."""
        return IN_FULL if self.view_lines >= IN_FULL * max(1, len(self.standings)) else 1

    def _show_chosen(self) -> None:
        for line, row in enumerate(self.standings):
            if row.law.number == self.chosen:
                self.show_cell(0, line * self.lines_each, lines=self.lines_each)

    def draw_ruler(self) -> Strip:
        label = self.style_of("label")
        return self.fit(
            [
                self.text("      law", self._says + 6, label),
                self.text("verdict", _VERDICT, label),
                self.text(f"{'worst':>{_WORST - 1}}", _WORST, label),
                self.text(f"{'tolerance':>{_TOLERANCE - 1}}", _TOLERANCE, label),
            ],
            self.width,
        )

    @property
    def _says(self) -> int:
        """Cells left for what a law says."""
        return max(8, self.view_cells - 6 - _VERDICT - _WORST - _TOLERANCE)

    def draw_body(self, line: int) -> Strip:
        row, part = self.standings[line // self.lines_each], line % self.lines_each
        if part:
            words = ("", row.law.method, row.place, "")[part]
            return self.fit([self.text(f"      {words}", self.view_cells, self.style_of("label"))], self.view_cells)
        is_chosen, found = row.law.number == self.chosen, row.found
        style, look = self.style_of("chosen") if is_chosen else None, self._look(row)
        parts = [
            self.text("▸" if is_chosen else " ", 2, style),
            self.text(row.mark, 2, look),
            self.text(str(row.law.number), 2, style),
            self.text(row.law.statement, self._says - 1, style),
            self.text(f" {row.words}", _VERDICT + 1, look),
            self.text(f"{row.worst:>{_WORST - 1}}", _WORST, style),
            self.text(
                f"{show_tolerance(found.tolerance) if found else '–':>{_TOLERANCE - 1}}",
                _TOLERANCE,
                self.style_of("label"),
            ),
        ]
        return self.fit(parts, self.view_cells)

    def _look(self, row: Standing) -> Style:
        if row.waits is not None or row.found is None or row.found.passed is None:
            return self.style_of("cursor" if row.waits == 0 else "label")
        return self.get_component_rich_style(f"law-list--{'holds' if row.found.passed else 'broken'}")

    def action_move(self, down: int, right: int) -> None:
        step = down or (right if abs(right) > 1 else 0)
        numbers = [row.law.number for row in self.standings]
        if numbers and step:
            at = numbers.index(self.chosen) if self.chosen in numbers else 0
            self.post_message(self.Chosen(numbers[min(max(at + step, 0), len(numbers) - 1)]))

    def on_click(self, event: events.Click) -> None:
        line = self.body_line(event)
        if line is not None and line < len(self.standings) * self.lines_each:
            self.post_message(self.Chosen(self.standings[line // self.lines_each].law.number))
