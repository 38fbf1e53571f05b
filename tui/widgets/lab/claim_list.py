"""Every claim of the lab on one line: a mark, the claim, its verdict in words, and how long the test took."""

from dataclasses import dataclass
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from edge.lab.claim import Claim
from edge.lab.effect import Verdict
from edge.lab.run import ClaimResult
from edge.picture.units import show_time
from tui.widgets.grid import Grid

GROUPS = {"F": "FFN", "A": "attention", "R": "routing to experts", "S": "attention and FFN"}
"""Groups of claims by the first letter of their keys."""

MARKS = {Verdict.SUPPORTED: "●", Verdict.NOT_SUPPORTED: "○", Verdict.INCONCLUSIVE: "◐", Verdict.NOT_APPLICABLE: "–"}
NOT_TESTED, RUNNING = "◌", "…"

_KEY, _VERDICT, _TIME = 4, 15, 9
_TIMED = 64
"""Columns from which the list shows times."""


@dataclass(frozen=True)
class ClaimStatus:
    """A claim and the state of its test.

    Attributes:
        result: Its result; None before the test.
        queued: Its place in the queue, 0 while it is running; None where it is not queued.
    """

    claim: Claim
    result: ClaimResult | None = None
    queued: int | None = None

    @property
    def mark(self) -> str:
        if self.queued == 0:
            return RUNNING
        return NOT_TESTED if self.result is None else MARKS[self.result.finding.verdict]

    @property
    def words(self) -> str:
        """The verdict, or the state of the test."""
        if self.queued is not None:
            return "waiting" if self.queued else "testing …"
        return "not tested" if self.result is None else str(self.result.finding.verdict)

    @property
    def took(self) -> str:
        return "" if self.result is None else show_time(self.result.took_s * 1e9)


class ClaimList(Grid):
    """Claims under the heading of their group.

    Attributes:
        statuses: Every claim.
        chosen: The key of one.
    """

    DEFAULT_CSS = """
    ClaimList {
        overflow-x: hidden;
        scrollbar-gutter: stable;
        &> .claim-list--supported { color: $success; }
        &> .claim-list--not-supported { color: $warning; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"claim-list--supported", "claim-list--not-supported"}

    ruler_lines = 0

    statuses: reactive[tuple[ClaimStatus, ...]] = reactive(())
    chosen: reactive[str] = reactive("")

    class Chosen(Message):
        """A claim, by its key."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: list[ClaimStatus | str] = []

    def watch_statuses(self) -> None:
        rows: list[ClaimStatus | str] = []
        group = ""
        for status in self.statuses:
            if status.claim.key[:1] != group:
                group = status.claim.key[:1]
                rows.append(f"{group}  {GROUPS[group]}")
            rows.append(status)
        if len(rows) != len(self._rows):
            self._rows = rows
            self._place()
        self._rows = rows
        self.redraw()

    def on_resize(self) -> None:
        self._place()

    def watch_chosen(self) -> None:
        self._show_chosen()
        self.redraw()

    def _place(self) -> None:
        self.resize_body(self.view_cells, len(self._rows))
        self._show_chosen()

    def _show_chosen(self) -> None:
        for line, row in enumerate(self._rows):
            if isinstance(row, ClaimStatus) and row.claim.key == self.chosen:
                is_first = line > 0 and isinstance(self._rows[line - 1], str)
                self.show_cell(0, line - is_first, lines=1 + is_first)

    def draw_body(self, line: int) -> Strip:
        row, cells = self._rows[line], self.view_cells
        if isinstance(row, str):
            return self.fit([self.text(f" {row}", cells, self.style_of("label"))], cells)
        is_chosen = row.claim.key == self.chosen
        style, took = self.style_of("chosen") if is_chosen else None, _TIME if cells >= _TIMED else 0
        parts = [
            self.text("▸" if is_chosen else " ", 2, style),
            self.text(row.mark, 2, self._look(row)),
            self.text(row.claim.key, _KEY, style),
            self.text(row.claim.title, cells - 4 - _KEY - _VERDICT - took, style),
            self.text(f" {row.words}", _VERDICT, self._look(row)),
            self.text(f"{row.took:>{max(0, took - 1)}}", took, self.style_of("label")),
        ]
        return self.fit(parts, cells)

    def _look(self, row: ClaimStatus) -> Style:
        names = {Verdict.SUPPORTED: "supported", Verdict.NOT_SUPPORTED: "not-supported"}
        name = None if row.result is None or row.queued is not None else names.get(row.result.finding.verdict)
        if name is None:
            return self.style_of("cursor" if row.queued == 0 else "label")
        return self.get_component_rich_style(f"claim-list--{name}")

    def action_move(self, down: int, right: int) -> None:
        """Up and down choose a claim, home and end the first and the last."""
        keys = [row.claim.key for row in self.statuses]
        step = down or (right if abs(right) > 1 else 0)
        if keys and step:
            at = keys.index(self.chosen) if self.chosen in keys else 0
            self.post_message(self.Chosen(keys[min(max(at + step, 0), len(keys) - 1)]))

    def on_click(self, event: events.Click) -> None:
        line = self.body_line(event)
        if line is not None and line < len(self._rows):
            row = self._rows[line]
            if isinstance(row, ClaimStatus):
                self.post_message(self.Chosen(row.claim.key))
