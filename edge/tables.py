"""Tables that commands print and the UI writes: aligned text, JSON, CSV or Markdown."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edge.picture.escape import escape_line
from models.json_text import json_text

Cell = str | int | float | None


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: Its name for scripts, unit included.
        heading: Its name for people, unit included.
        form: How a value is written for people: a number as `format` takes it, or any value by a function.
    """

    key: str
    heading: str
    form: str | Callable[[Any], str] = ""

    def show(self, cell: Cell) -> str:
        """A cell as people read it; an absent value, as the mean of nothing is, is a dash."""
        if cell is None or cell != cell:
            return "-"
        if callable(self.form):
            return escape_line(self.form(cell))
        return escape_line(cell) if isinstance(cell, str) else format(cell, self.form)


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns. Scripts get values, people get formatted ones."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]

    def records(self) -> list[dict[str, Cell]]:
        """Each row by column key."""
        return [{column.key: cell for column, cell in zip(self.columns, row, strict=True)} for row in self.rows]

    def text(self) -> str:
        """Aligned columns: words to the left, numbers to the right."""
        lines = self._shown()
        widths = [max(len(line[index]) for line in lines) for index in range(len(self.columns))]
        words = [all(isinstance(row[index], str) for row in self.rows) for index in range(len(self.columns))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if is_word else cell.rjust(width)
                for cell, width, is_word in zip(line, widths, words, strict=True)
            ).rstrip()
            for line in lines
        )

    def markdown(self) -> str:
        """A Markdown table."""
        head, *body = [" | ".join(cell.replace("|", "\\|") for cell in line) for line in self._shown()]
        rule = " | ".join("---" for _ in self.columns)
        return "\n".join(f"| {line} |" for line in (head, rule, *body))

    def csv(self) -> str:
        """Comma-separated values under column keys."""
        import csv

        written = io.StringIO()
        writer = csv.writer(written, lineterminator="\n")
        writer.writerow(column.key for column in self.columns)
        writer.writerows([_csv_cell(cell) for cell in row] for row in self.rows)
        return written.getvalue().rstrip("\n")

    def json(self) -> str:
        """A list of objects."""
        return json_text(self.records())

    def write(self, layout: str) -> str:
        """The table in one of the layouts of `table_options`."""
        return {"text": self.text, "json": self.json, "csv": self.csv, "md": self.markdown}[layout]()

    def _shown(self) -> list[list[str]]:
        return [
            [column.heading for column in self.columns],
            *([column.show(cell) for column, cell in zip(self.columns, row, strict=True)] for row in self.rows),
        ]


def _csv_cell(cell: Cell) -> Cell:
    if isinstance(cell, str):
        return escape_line(cell)
    return None if cell != cell else cell
