"""One row per law: a mark, the law, its verdict, its largest error, and the tolerance."""

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

_VERDICT, _WORST, _TOLERANCE = 12, 8, 11

IN_FULL = 4
"""Lines per law where all laws fit in full."""


@dataclass(frozen=True)
class LawStatus:
    """A law and its result on one engine.

    Attributes:
        found: The result; None before the check.
        queued: Its place in the queue, 0 while it is running; None where it is not queued.
    """

    law: Law
    found: LawResult | None = None
    queued: int | None = None

    @property
    def mark(self) -> str:
        if self.queued == 0:
            return "…"
        if self.found is None:
            return "◌"
        return "–" if self.found.passed is None else "●" if self.found.passed else "○"

    @property
    def words(self) -> str:
        """The verdict, or the state of the check."""
        if self.queued is not None:
            return "waiting" if self.queued else "checking …"
        if self.found is None:
            return "not checked"
        return {True: "pass", False: "fail", None: "skipped"}[self.found.passed]

    @property
    def worst(self) -> str:
        """The largest relative error; a dash where there is none."""
        if self.found is None or self.found.passed is None:
            return "–"
        return show_error(self.found.worst) if self.found.worst == self.found.worst else "NaN"

    @property
    def place(self) -> str:
        """The place of the largest error, or of the first error over tolerance; empty before the check."""
        if self.found is None:
            return ""
        verdict = {True: "largest error", False: "first over tolerance", None: "skipped"}[self.found.passed]
        return f"{verdict}: {self.found.where} ({self.found.tokens} tokens)"

    def about(self, tokens: str) -> str:
        """The law in full: its method and its result, or the text for the check."""
        action = "enter or m compares engines" if self.law.check is None else f"enter checks it, b all, on {tokens}"
        return f"{self.law.number}  {self.law.statement}\n{self.law.method}\n{self.place or action}"


class LawList(Grid):
    """Laws in the order of their numbers.

    Attributes:
        statuses: Every law.
        chosen: The number of one.
    """

    DEFAULT_CSS = """
    LawList {
        overflow-x: hidden;
        &> .law-list--passed { color: $success; }
        &> .law-list--failed { color: $error; text-style: bold; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"law-list--passed", "law-list--failed"}

    statuses: reactive[tuple[LawStatus, ...]] = reactive(())
    chosen: reactive[int] = reactive(1)

    class Chosen(Message):
        """A law, by its number."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def watch_statuses(self) -> None:
        self._place()

    def on_resize(self) -> None:
        self._place()

    def watch_chosen(self) -> None:
        self._show_chosen()
        self.redraw()

    def _place(self) -> None:
        self.resize_body(self.view_cells, len(self.statuses) * self.lines_each)
        self._show_chosen()

    @property
    def lines_each(self) -> int:
        """Lines of one law: with method and place, if all laws fit."""
        return IN_FULL if self.view_lines >= IN_FULL * max(1, len(self.statuses)) else 1

    def _show_chosen(self) -> None:
        for line, row in enumerate(self.statuses):
            if row.law.number == self.chosen:
                self.show_cell(0, line * self.lines_each, lines=self.lines_each)

    def draw_ruler(self) -> Strip:
        label = self.style_of("label")
        return self.fit(
            [
                self.text("      law", self._statement_cells + 6, label),
                self.text("verdict", _VERDICT, label),
                self.text(f"{'error':>{_WORST - 1}}", _WORST, label),
                self.text(f"{'tolerance':>{_TOLERANCE - 1}}", _TOLERANCE, label),
            ],
            self.width,
        )

    @property
    def _statement_cells(self) -> int:
        """Cells left for the text of a law."""
        return max(8, self.view_cells - 6 - _VERDICT - _WORST - _TOLERANCE)

    def draw_body(self, line: int) -> Strip:
        row, part = self.statuses[line // self.lines_each], line % self.lines_each
        if part:
            words = ("", row.law.method, row.place, "")[part]
            return self.fit([self.text(f"      {words}", self.view_cells, self.style_of("label"))], self.view_cells)
        is_chosen, found = row.law.number == self.chosen, row.found
        style, look = self.style_of("chosen") if is_chosen else None, self._look(row)
        parts = [
            self.text("▸" if is_chosen else " ", 2, style),
            self.text(row.mark, 2, look),
            self.text(str(row.law.number), 2, style),
            self.text(row.law.statement, self._statement_cells - 1, style),
            self.text(f" {row.words}", _VERDICT + 1, look),
            self.text(f"{row.worst:>{_WORST - 1}}", _WORST, style),
            self.text(
                f"{show_tolerance(found.tolerance) if found else '–':>{_TOLERANCE - 1}}",
                _TOLERANCE,
                self.style_of("label"),
            ),
        ]
        return self.fit(parts, self.view_cells)

    def _look(self, row: LawStatus) -> Style:
        if row.queued is not None or row.found is None or row.found.passed is None:
            return self.style_of("cursor" if row.queued == 0 else "label")
        return self.get_component_rich_style(f"law-list--{'passed' if row.found.passed else 'failed'}")

    def action_move(self, down: int, right: int) -> None:
        step = down or (right if abs(right) > 1 else 0)
        numbers = [row.law.number for row in self.statuses]
        if numbers and step:
            at = numbers.index(self.chosen) if self.chosen in numbers else 0
            self.post_message(self.Chosen(numbers[min(max(at + step, 0), len(numbers) - 1)]))

    def on_click(self, event: events.Click) -> None:
        line = self.body_line(event)
        if line is not None and line < len(self.statuses) * self.lines_each:
            self.post_message(self.Chosen(self.statuses[line // self.lines_each].law.number))
