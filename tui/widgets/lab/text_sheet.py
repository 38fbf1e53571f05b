"""Paragraphs and tables of numbers, wrapped to the width of the widget."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells
from textual.reactive import reactive
from textual.strip import Strip

from edge.lab.claim import Number
from edge.lab.effect import Effect
from edge.picture.pieces import show_piece
from edge.picture.units import show_with_unit, unit_title
from tui.widgets.grid import Grid

LEAST_CELLS = 12
"""Smallest width of a wrapped text."""

LABEL_CELLS = 24
"""Smallest width of a label at the right of its numbers; a narrower one is below them."""

POINTS = "pp"
"""Percentage points, in tables."""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph.

    Attributes:
        title: At its left, `titled` cells wide.
        look: A component class of `Grid`; plain where empty.
    """

    text: str
    title: str = ""
    titled: int = 0
    look: str = ""


@dataclass(frozen=True)
class NumberTable:
    """A table: the value and the baseline with their units, and the label."""

    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class EffectTable:
    """A table: effect, its 95% interval, the criterion, and the reason for the threshold."""

    effects: tuple[Effect, ...]


Block = Paragraph | NumberTable | EffectTable
Line = tuple[tuple[str, str], ...]
"""Pieces of text, each with its style."""


def wrap_cells(text: str, cells: int) -> list[str]:
    """Lines of at most `cells`, broken between words where possible, without control characters."""
    lines, line = [], ""
    for word in show_piece(text).split(" "):
        if cell_len(line) + 1 + cell_len(word) <= cells and line:
            line += " " + word
            continue
        if line:
            lines.append(line)
        *whole, line = chop_cells(word, cells) or [""]
        lines += whole
    return [*lines, line]


def lines_of_block(block: Block, cells: int) -> Iterator[Line]:
    """The lines of a block in `cells`."""
    match block:
        case Paragraph(text, title, titled, look):
            for place, line in enumerate(wrap_cells(text, max(LEAST_CELLS, cells - titled))):
                head = f"{title if place == 0 else '':<{titled}}"
                yield ((head, "label"), (line, look)) if titled else ((line, look),)
        case NumberTable(numbers):
            rows = [
                (
                    show_with_unit(one.value, one.unit, POINTS),
                    "" if one.baseline is None else show_with_unit(one.baseline, one.unit, POINTS),
                    one.label,
                )
                for one in numbers
            ]
            yield from _table([("value", "baseline", ""), *rows], cells, {one.unit for one in numbers})
        case EffectTable(effects):
            effect_rows = [
                (
                    show_with_unit(one.value, one.unit, POINTS),
                    one.interval,
                    f"{one.side} {show_with_unit(one.threshold, one.unit, POINTS)}",
                    f"{one.label} ({one.threshold_reason})",
                )
                for one in effects
            ]
            heading = ("effect", "95% interval", "criterion", "")
            yield from _table([heading, *effect_rows], cells, {one.unit for one in effects})


def _table(rows: Sequence[tuple[str, ...]], cells: int, units: AbstractSet[str]) -> Iterator[Line]:
    """Rows under a heading: numbers right-aligned, the label wrapped at their right, or below in a narrow table."""
    widths = [max(cell_len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    room = cells - sum(widths) - 2 * len(widths) - 1
    for place, (*numbers, label) in enumerate(rows):
        lines = wrap_cells(label, room) if room >= LABEL_CELLS else [""]
        for turn, line in enumerate(lines):
            shown = [f"{'' if turn else number:>{wide}}  " for number, wide in zip(numbers, widths, strict=True)]
            looks = ["first" if place else "label", *("label" for _ in shown[1:])]
            yield ((f" {shown[0]}", looks[0]), *zip(shown[1:], looks[1:], strict=True), (line, ""))
        if room < LABEL_CELLS and label:
            yield from ((("   ", ""), (line, "")) for line in wrap_cells(label, max(LEAST_CELLS, cells - 3)))
    if "share_difference" in units:
        yield ((f" {POINTS}: {unit_title('share_difference')}", "label"),)


class TextSheet(Grid):
    """Blocks, one below the other, with an empty line between them.

    Attributes:
        blocks: The content; nothing where empty.
    """

    DEFAULT_CSS = "TextSheet { overflow-x: hidden; scrollbar-gutter: stable; }"

    ruler_lines = 0

    blocks: reactive[tuple[Block, ...]] = reactive(())

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._content_lines: list[Line] = []

    def watch_blocks(self) -> None:
        self._fill()
        if self.scroll_y:
            self.scroll_to(0, 0, animate=False, force=True)

    def on_resize(self) -> None:
        self._fill()

    def _fill(self) -> None:
        cells = self.view_cells - 2
        lines: list[Line] = []
        for block in self.blocks:
            if lines and not (isinstance(block, Paragraph) and block.titled):
                lines.append(())
            lines += lines_of_block(block, cells)
        self._content_lines = lines
        # At least as many lines as fit: a body of another size needs a layout of the whole screen.
        self.resize_body(self.view_cells, max(len(lines), self.view_lines))

    def draw_body(self, line: int) -> Strip:
        if line >= len(self._content_lines):
            return self.fit([], self.view_cells)
        parts = [self.text(" ", 1)]
        parts += [
            self.text(text, cell_len(text), self.style_of(look) if look else None)
            for text, look in self._content_lines[line]
        ]
        return self.fit(parts, self.view_cells)

    def action_move(self, down: int, right: int) -> None:
        """Up and down scroll by lines, home and end to the first and the last."""
        self.scroll_relative(y=down or (right if abs(right) > 1 else 0), animate=False)
