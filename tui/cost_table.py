"""Rows of a table of costs: one quantity a row, one engine a column, under headings."""

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
        unit: As `edge.picture.units` knows it: `share`, `bytes` and `count` show by themselves.
        values: One an engine; None where it is not known.
        shares: What stands beside each value, of what the title or its section says; empty where nothing does.
        of_sweep: Shares are ratios to what a sweep reached, which caches and 8-bit products exceed.
    """

    title: str
    unit: str
    values: tuple[Number | None, ...]
    shares: tuple[float | None, ...] = ()
    of_sweep: bool = False

    @property
    def label(self) -> str:
        """The title, with the unit that the values do not show."""
        return self.title if self.unit in ("count", "share", "bytes") else f"{self.title}, {self.unit}"

    def show_beside(self, engine: int) -> str:
        """The share of one engine; nothing where there is none."""
        share = self.shares[engine] if self.shares else None
        if share is None:
            return ""
        return show_reached(share) if self.of_sweep else show_share(share)

    def show(self, engine: int) -> str:
        """One value as people read it; a dash where there is none."""
        value = self.values[engine]
        return "–" if value is None else show_measured(value, self.unit)


@dataclass(frozen=True)
class Heading:
    """What the rows below it are, and how they were measured; `warns` where that is to be doubted."""

    title: str
    warns: bool = False


@dataclass(frozen=True)
class Split:
    """Where each engine's pass goes: what a stacked bar is drawn from, in nanoseconds by part."""

    accounts: tuple[TimeBreakdown, ...]


CostRow = Cost | Heading | Split


def as_table(engines: tuple[str, ...], rows: Iterable[CostRow]) -> Table:
    """The rows as a table: quantity, unit, and a column an engine; shares have rows of their own."""
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
