"""One row per layer: latency, logit lens, sparsity, contribution, head roles, parity."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rich.segment import Segment
from textual.reactive import reactive
from textual.strip import Strip

from edge.picture.bars import bar
from edge.picture.pieces import quote_piece
from edge.picture.units import show_number, show_share, show_time
from tui.widgets.layer_lines import LayerList


@dataclass(frozen=True)
class LayerRow:
    """One layer at the chosen token; NaN and empty texts where something is not known.

    Attributes:
        attn_write: L2 norm of attention's output, over the largest of all sublayers.
        sparsity: Sparsity of the FFN's activations, by the definition that heads the column.
        prediction: Logit lens after this layer: top-1 token and its probability.
        compared: The same in the comparison run.
        changes: With edits, the relative change of attention's and the FFN's output, and which part of them is
            ablated.
        kinds: Heads by role: `2 prev · 3 sink`.
        parity: One mark per engine compared.
    """

    layer: int
    attn_ns: float
    ffn_ns: float
    attn_write: float
    ffn_write: float
    sparsity: float
    prediction: tuple[str, float] | None
    compared: tuple[str, float] | None
    kinds: str
    parity: str
    changes: tuple[tuple[float, str], tuple[float, str]] = ((float("nan"), ""), (float("nan"), ""))


Draw = Callable[["LayerTable", LayerRow, int], list[Segment]]


@dataclass(frozen=True)
class TableColumn:
    """One column: its title, its width in cells, and how its cells are drawn."""

    title: str
    cells: int
    draw: Draw


def _timed(took_ns: float, table: "LayerTable", cells: int, look: str) -> list[Segment]:
    words = "–" if np.isnan(took_ns) else show_time(took_ns)
    share = took_ns / table.longest_ns if table.longest_ns else float("nan")
    room = cells - 10
    return [table.text(bar(share, room), room, table.style_of(look)), table.text(f"{words:>8}", 10)]


def _written(row: LayerRow, table: "LayerTable", cells: int) -> list[Segment]:
    each = cells // 2 - 1
    return [
        table.text(bar(row.attn_write, each), each + 1, table.style_of("first")),
        table.text(bar(row.ffn_write, each), cells - each - 1, table.style_of("second")),
    ]


def _sparsity(row: LayerRow, table: "LayerTable", cells: int) -> list[Segment]:
    words = "–" if np.isnan(row.sparsity) else show_share(row.sparsity)
    room = cells - 8
    return [table.text(bar(row.sparsity, room), room, table.style_of("second")), table.text(f"{words:>6}", 8)]


def _draw_prediction(prediction: tuple[str, float] | None, table: "LayerTable", cells: int) -> list[Segment]:
    if prediction is None:
        return [table.text("–", cells, table.style_of("label"))]
    piece, probability = prediction
    return [table.text(quote_piece(piece), cells - 7), table.text(f"{show_number(probability):>5}", 7)]


def _differs(changes: tuple[float, str], table: "LayerTable", cells: int, look: str) -> list[Segment]:
    """The number first, then what is ablated, else a bar. 0 is shown as "same", to differ from a small change."""
    share, words = changes
    number = "–" if np.isnan(share) else "same" if share == 0 else show_share(share)
    room = max(cells - 8, 1)
    mark = table.text(words, room) if words else table.text(bar(share, room - 1), room, table.style_of(look))
    return [table.text(f"{number:>6}  ", 8), mark]


SPARSITY = "sparsity"
"""The column whose heading is the chosen definition."""

TIMED = ("attention", "FFN")
"""The columns of latencies."""

COLUMNS = (
    TableColumn(TIMED[0], 18, lambda table, row, cells: _timed(row.attn_ns, table, cells, "first")),
    TableColumn(TIMED[1], 18, lambda table, row, cells: _timed(row.ffn_ns, table, cells, "second")),
    TableColumn("logit lens, p", 20, lambda table, row, cells: _draw_prediction(row.prediction, table, cells)),
    TableColumn(SPARSITY, 13, lambda table, row, cells: _sparsity(row, table, cells)),
    TableColumn("‖attn‖  ‖FFN‖", 17, lambda table, row, cells: _written(row, table, cells)),
    TableColumn("heads by role", 21, lambda table, row, cells: [table.text(row.kinds, cells)]),
    TableColumn("parity", 12, lambda table, row, cells: [table.text(row.parity, cells)]),
    TableColumn("compared lens, p", 20, lambda table, row, cells: _draw_prediction(row.compared, table, cells)),
)

EDITED = (
    TableColumn("logit lens, p", 18, lambda table, row, cells: _draw_prediction(row.prediction, table, cells)),
    TableColumn("edited lens, p", 18, lambda table, row, cells: _draw_prediction(row.compared, table, cells)),
    TableColumn("Δ attention", 17, lambda table, row, cells: _differs(row.changes[0], table, cells, "first")),
    TableColumn("Δ FFN", 17, lambda table, row, cells: _differs(row.changes[1], table, cells, "second")),
)
"""Columns that come first with edits: what the edits change."""


class LayerTable(LayerList):
    """Deep layers at the top. Columns that do not fit are on the next page.

    Attributes:
        rows: One row per layer, layer 0 first.
        longest_ns: Time of a full bar.
        page: The page of columns.
        sparsity: Title of the chosen definition of sparsity.
        is_scaled: Latencies are scaled down to the pass, which timers slowed.
    """

    rows: reactive[tuple[LayerRow, ...]] = reactive((), always_update=True)
    page: reactive[int] = reactive(0)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.longest_ns = 0.0
        self.has_parity = self.has_compared = self.has_edits = False
        self.sparsity, self.is_scaled = SPARSITY, False

    def watch_rows(self) -> None:
        self.resize_body(self.view_cells, len(self.rows))

    def on_resize(self) -> None:
        self.page = 0
        self.resize_body(self.view_cells, len(self.rows))

    def watch_page(self) -> None:
        self.redraw()

    def pages(self) -> list[list[TableColumn]]:
        """Columns that fit, page by page."""
        pages: list[list[TableColumn]] = [[]]
        room = self.view_cells
        for column in self._available():
            if column.cells > room and pages[-1]:
                pages.append([])
                room = self.view_cells
            pages[-1].append(column)
            room -= column.cells
        return pages

    def _available(self) -> list[TableColumn]:
        """All columns with content, in order."""
        left_out = {"logit lens, p", "compared lens, p"} if self.has_edits else set()
        left_out |= set() if self.has_parity else {"parity"}
        left_out |= set() if self.has_compared else {"compared lens, p"}
        first = EDITED if self.has_edits else ()
        return [*first, *(column for column in COLUMNS if column.title not in left_out)]

    @property
    def _columns(self) -> list[TableColumn]:
        pages = self.pages()
        return pages[self.page % len(pages)]

    @property
    def n_layers(self) -> int:
        return len(self.rows)

    def _widths(self) -> list[int]:
        """Width of each column: free space is shared."""
        columns = self._columns
        spare = max(0, self.view_cells - sum(column.cells for column in columns)) // max(1, len(columns))
        return [column.cells + min(spare, 12) for column in columns]

    def _heading(self, title: str) -> str:
        """A column's title, with the definition of sparsity, and whether times are scaled."""
        if title == SPARSITY:
            return self.sparsity
        return f"{title}, scaled" if self.is_scaled and title in TIMED else title

    def draw_ruler(self) -> Strip:
        label = self.style_of("label")
        columns = zip(self._columns, self._widths(), strict=True)
        titles = [self.text(self._heading(column.title), cells, label) for column, cells in columns]
        return self.fit([self.text(" layer", self.gutter_cells, label), *titles], self.width)

    def draw_body(self, line: int) -> Strip:
        row = self.rows[self.flip(line)]
        cells = [
            segment
            for column, width in zip(self._columns, self._widths(), strict=True)
            for segment in column.draw(self, row, width)
        ]
        return self.fit(cells, self.view_cells)

    def action_move(self, down: int, right: int) -> None:
        if self.rows:
            self.choose_below(down)
