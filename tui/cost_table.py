"""Rows of a table of costs: one row per quantity, one column per engine, under headings."""

from collections.abc import Iterable
from dataclasses import dataclass

from edge.picture.coverage import show_reached
from edge.picture.units import Number, show_measured, show_share
from edge.tables import Cell, Column, Table
from edge.timing import TimeBreakdown


@dataclass(frozen=True)
class Cost:
    """One quantity of every engine.

    Attributes:
        unit: A unit of `edge.picture.units`; `share`, `bytes` and `count` are written with the value.
        values: One per engine; None where it is not known.
        shares: Share of each value, of the whole that the section names; empty without shares.
        of_benchmark: Shares are ratios to a benchmark, which caches and 8-bit products can exceed.
    """

    title: str
    unit: str
    values: tuple[Number | None, ...]
    shares: tuple[float | None, ...] = ()
    of_benchmark: bool = False

    @property
    def label(self) -> str:
        """The title, with the unit if it is not written with the values."""
        return self.title if self.unit in ("count", "share", "bytes") else f"{self.title}, {self.unit}"

    def show_share_of(self, engine: int) -> str:
        """The share of one engine; empty without one."""
        share = self.shares[engine] if self.shares else None
        if share is None:
            return ""
        return show_reached(share) if self.of_benchmark else show_share(share)

    def show(self, engine: int) -> str:
        """One value with its unit; a dash where there is none."""
        value = self.values[engine]
        return "–" if value is None else show_measured(value, self.unit)


@dataclass(frozen=True)
class Heading:
    """Heading of the rows below it; `warns` where they are unreliable."""

    title: str
    warns: bool = False


@dataclass(frozen=True)
class Split:
    """Each engine's pass by part, in nanoseconds, as a stacked bar."""

    accounts: tuple[TimeBreakdown, ...]


CostRow = Cost | Heading | Split


def as_table(engines: tuple[str, ...], rows: Iterable[CostRow]) -> Table:
    """The rows as a table: quantity, unit, and one column per engine; shares have separate rows."""
    columns = [Column("quantity", "quantity"), Column("unit", "unit"), *(Column(one, one, ".4g") for one in engines)]
    cells: list[tuple[Cell, ...]] = []
    section = ""
    for row in rows:
        if isinstance(row, Heading):
            section = row.title.partition(" · ")[0] + ": "
        elif isinstance(row, Cost):
            cells.append((section + row.title, row.unit, *row.values))
            if row.shares:
                cells.append((f"{section}{row.title}", "share", *row.shares))
    return Table(columns, cells)
