"""One line a layer: what it costs, what it adds, how sparse its FFN is, what it would answer, what its heads are."""

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
    """One layer at the chosen token; NaN and empty words where something is not known.

    Attributes:
        attn_write: Length of what attention adds, over the largest of all layers.
        sparsity: Sparsity of the FFN's activations, by the definition that heads the column.
        guess: The likeliest next token read off after this layer, and its probability.
        beside: The same in the run beside.
        differs: With edits, how much otherwise attention and FFN add: a share of what they added without, and in words
            what of them is ablated.
        kinds: What its heads are, counted: `prev 2 · sink 3`.
        parity: A mark for each engine compared.
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
    """One column: its title, the cells it is wide, and how a row's cell is drawn."""

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
    """The number first, then what is ablated, else a bar; 0 is a word: what is the same must not look like little."""
    share, words = changes
    told = "–" if np.isnan(share) else "same" if share == 0 else show_share(share)
    room = max(cells - 8, 1)
    mark = table.text(words, room) if words else table.text(bar(share, room - 1), room, table.style_of(look))
    return [table.text(f"{told:>6}  ", 8), mark]


SPARSITY = "sparsity"
"""The column that is headed by the definition that it shows."""

TIMED = ("attention", "FFN")
"""The columns of times."""

COLUMNS = (
    TableColumn(TIMED[0], 18, lambda table, row, cells: _timed(row.attn_ns, table, cells, "first")),
    TableColumn(TIMED[1], 18, lambda table, row, cells: _timed(row.ffn_ns, table, cells, "second")),
    TableColumn("reads as, p", 20, lambda table, row, cells: _draw_prediction(row.prediction, table, cells)),
    TableColumn(SPARSITY, 13, lambda table, row, cells: _sparsity(row, table, cells)),
    TableColumn("adds: attn, FFN", 17, lambda table, row, cells: _written(row, table, cells)),
    TableColumn("heads", 21, lambda table, row, cells: [table.text(row.kinds, cells)]),
    TableColumn("parity", 12, lambda table, row, cells: [table.text(row.parity, cells)]),
    TableColumn("beside reads as, p", 20, lambda table, row, cells: _draw_prediction(row.compared, table, cells)),
)

EDITED = (
    TableColumn("reads as, p", 18, lambda table, row, cells: _draw_prediction(row.prediction, table, cells)),
    TableColumn("edited reads, p", 18, lambda table, row, cells: _draw_prediction(row.compared, table, cells)),
    TableColumn("Δ attention", 17, lambda table, row, cells: _differs(row.changes[0], table, cells, "first")),
    TableColumn("Δ FFN", 17, lambda table, row, cells: _differs(row.changes[1], table, cells, "second")),
)
"""What stands first while edits are on: what they change."""


class LayerTable(LayerList):
    """Deep layers on top. Columns that do not fit wait on the next page.

    Attributes:
        rows: What is known of each layer, layer 0 first.
        longest_ns: What a full time bar stands for.
        page: Which columns show, where they do not fit all.
        sparsity: The definition of sparsity that shows, by its title.
        is_scaled: Times are scaled down to the pass, which clocks slowed.
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
        """Columns that fit beside each other, page by page."""
        pages: list[list[TableColumn]] = [[]]
        room = self.view_cells
        for column in self._asked():
            if column.cells > room and pages[-1]:
                pages.append([])
                room = self.view_cells
            pages[-1].append(column)
            room -= column.cells
        return pages

    def _asked(self) -> list[TableColumn]:
        """All columns there is anything for, in their order."""
        left_out = {"reads as, p", "beside reads as, p"} if self.has_edits else set()
        left_out |= set() if self.has_parity else {"parity"}
        left_out |= set() if self.has_compared else {"beside reads as, p"}
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
        """Cells of each column: what is left is shared out."""
        columns = self._columns
        spare = max(0, self.view_cells - sum(column.cells for column in columns)) // max(1, len(columns))
        return [column.cells + min(spare, 12) for column in columns]

    def _heading(self, title: str) -> str:
        """A column's title: which sparsity, and whether times are scaled."""
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
