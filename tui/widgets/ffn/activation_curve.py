"""The activations of one FFN at one token, sorted by magnitude, on a log scale."""

import numpy as np
from jaxtyping import Float32, Int64
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.reactive import reactive
from textual.strip import Strip

from edge.measure.sparsity import top_p_sparsity
from edge.picture.bars import column
from edge.picture.units import show_number, show_share
from tui.messages import NeuronChosen
from tui.widgets.grid import Grid

DECADES = 4
"""Decades of the log scale, down from the largest magnitude."""


class ActivationCurve(Grid):
    """Neurons from left to right by falling magnitude, above an axis.

    Attributes:
        neurons: What enters the down projection at the token, in the activation's own unit.
        chosen: One neuron, which is marked; left and right choose the next one in this order.
        is_zoomed: Show only neurons on the scale, over the whole width.
    """

    DEFAULT_CSS = "ActivationCurve { overflow: hidden hidden; }"

    gutter_cells = 9

    neurons: reactive[Float32[np.ndarray, " neuron"]] = reactive(lambda: np.zeros(0, np.float32), always_update=True)
    chosen: reactive[int] = reactive(0)
    is_zoomed: reactive[bool] = reactive(True)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.order: Int64[np.ndarray, " neuron"] = np.zeros(0, np.int64)
        self._magnitudes: Float32[np.ndarray, " neuron"] = np.zeros(0, np.float32)
        self._kept = 0

    def watch_neurons(self) -> None:
        size = np.abs(np.nan_to_num(self.neurons, nan=0.0, posinf=0.0, neginf=0.0))
        self.order = np.argsort(-size, kind="stable")
        self._magnitudes = size[self.order]
        self._kept = round((1 - float(top_p_sparsity(size))) * len(size)) if len(size) else 0
        self._resize()

    def watch_chosen(self) -> None:
        self.redraw()

    def watch_is_zoomed(self) -> None:
        self._resize()

    def on_resize(self) -> None:
        self._resize()

    def _resize(self) -> None:
        self._heights = self.heights() if len(self.neurons) else np.zeros(0, np.float32)
        self.resize_body(self.view_cells, self.view_lines if len(self.neurons) else 0)

    @property
    def shown(self) -> int:
        """How many neurons are drawn, the largest first."""
        if not self.is_zoomed:
            return len(self.order)
        return max(1, int((self._magnitudes > self._magnitudes[:1] / 10**DECADES).sum()))

    @property
    def bar_lines(self) -> int:
        """Lines of the curve, without its axis."""
        return max(1, self.view_lines - 1)

    def _rank(self, cell: int) -> int:
        """The rank of the first neuron in a column."""
        return cell * self.shown // self.view_cells

    def _cell(self, rank: int) -> int:
        """The first column of a neuron; the last column for neurons that are not drawn."""
        cells, count = self.view_cells, max(1, self.shown)
        first = -(-rank * cells // count) if cells > count else ((rank + 1) * cells - 1) // count
        return min(first, cells - 1)

    @property
    def _chosen_rank(self) -> int:
        found = np.flatnonzero(self.order == self.chosen)
        return int(found[0]) if len(found) else 0

    # ---- drawing ----------------------------------------------------------------------------------------

    def heights(self) -> Float32[np.ndarray, " cell"]:
        """How high each column is, 0 to 1: its largest magnitude on the log scale; 0 at and below the scale's end."""
        size = self._magnitudes[np.arange(self.view_cells) * self.shown // self.view_cells]
        relative = np.maximum(size / max(float(self._magnitudes[0]), 1e-30), 10.0**-DECADES)
        return np.asarray(1 + np.log10(relative) / DECADES, np.float32)

    def draw_ruler(self) -> Strip:
        """Marks where the fewest neurons with 90% of Σ|a| end."""
        at = self._cell(max(0, self._kept - 1))
        share = show_share(self._kept / max(1, len(self.order)))
        words = f"{self._kept:,} neurons ({share}) have 90% of Σ|a| (top-p 0.9)"
        words = words if cell_len(words) + 2 <= self.view_cells else f"top-p 0.9: {share}"
        fits = at + cell_len(words) + 2 <= self.view_cells
        start = at if fits else max(0, at - cell_len(words) - 1)
        arrow = f"▾ {words}" if fits else f"{words} ▾"
        head = self.text("     |a|", self.gutter_cells, self.style_of("label"))
        rest = self.text(arrow, self.view_cells - start, self.style_of("second"))
        return self.fit([head, self.text("", start), rest], self.width)

    def draw_gutter(self, line: int) -> list[Segment]:
        for decade in range(DECADES + 1):
            if line == round(decade / DECADES * (self.bar_lines - 1)) and line < self.bar_lines:
                words = f"{show_number(float(self._magnitudes[0]) / 10**decade):>{self.gutter_cells - 2}} "
                return [
                    self.text(words + ("┤" if self.bar_lines > 1 else " "), self.gutter_cells, self.style_of("label"))
                ]
        tick = "│" if line < self.bar_lines else "└"
        return [self.text(" " * (self.gutter_cells - 1) + tick, self.gutter_cells, self.style_of("label"))]

    def draw_body(self, line: int) -> Strip:
        if line >= self.bar_lines:
            return self._axis()
        if len(self._heights) != self.view_cells:
            self._heights = self.heights()
        lines = self.bar_lines
        glyphs = [column(height * lines - (lines - 1 - line)) for height in self._heights.tolist()]
        rank = self._chosen_rank
        kept, chosen = self._cell(max(0, self._kept - 1)), self._cell(rank) if rank < self.shown else -1
        parts, start = [], 0
        for cell in sorted({kept, chosen} - {-1}):
            parts.append(Segment("".join(glyphs[start:cell]), self._look("first")))
            glyph = glyphs[cell] if glyphs[cell] != " " or cell == chosen else "╎"
            parts.append(Segment(glyph, self._look("chosen" if cell == chosen else "second")))
            start = cell + 1
        parts.append(Segment("".join(glyphs[start:]), self._look("first")))
        return self.fit(parts, self.view_cells)

    def _look(self, name: str) -> Style:
        return self.rich_style + self.style_of(name)

    def _axis(self) -> Strip:
        """The ends of the axis, and the rank of the chosen neuron."""
        rank, count = self._chosen_rank, len(self.order)
        label, at = f"neuron {self.chosen}, rank {rank + 1:,}", self._cell(rank)
        if rank >= self.shown:
            start, words = min(4, self.view_cells - 1), f"{label}, below the scale"
        elif at + cell_len(label) + 2 <= self.view_cells:
            start, words = at, f"▴ {label}"
        else:
            start, words = max(0, at - cell_len(label) - 1), f"{label} ▴"
        room = max(0, self.view_cells - start - cell_len(words))
        share = show_share(self.shown / max(1, count))
        end = next(
            (
                end
                for end in (
                    f"shown: the largest {self.shown:,} of {count:,} neurons",
                    f"largest {self.shown:,} of {count:,}",
                    share,
                )
                if len(end) < room
            ),
            "",
        )
        parts = [
            self.text("0%" if start > 2 else "", start, self.style_of("label")),
            self.text(words, self.view_cells - start - room, self.style_of("chosen")),
            self.text(f"{end:>{room}}", room, self.style_of("label")),
        ]
        return self.fit(parts, self.view_cells)

    # ---- choosing ---------------------------------------------------------------------------------------

    def action_move(self, down: int, right: int) -> None:
        if len(self.order) and right:
            rank = min(max(self._chosen_rank + right, 0), len(self.order) - 1)
            self.post_message(NeuronChosen(int(self.order[rank])))

    def on_click(self, event: events.Click) -> None:
        at = self.body_cell(event)
        if at is not None and len(self.order):
            self.post_message(NeuronChosen(int(self.order[self._rank(min(at[0], self.view_cells - 1))])))
