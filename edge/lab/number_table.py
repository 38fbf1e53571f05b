"""The numbers of a lab record as a table for scripts."""

from math import isnan

from edge.lab.run import LabRecord
from edge.tables import Column, Table


def number_table(record: LabRecord) -> Table:
    """One row per effect and one row per number, for scripts; numbers have no interval and no threshold."""
    names = ("claim", "verdict", "number", "value", "low", "high", "threshold", "unit", "baseline", "means")
    rows: list[tuple[str | float | None, ...]] = []
    for one in record.results:
        about = (one.key, str(one.finding.verdict))
        for e in one.finding.effects:
            bounds = (_known(e.low), _known(e.high), _known(e.threshold))
            rows.append((*about, e.key, _known(e.value), *bounds, e.unit, None, e.label))
        for n in one.finding.numbers:
            rows.append((*about, n.key, _known(n.value), None, None, None, n.unit, n.baseline, n.label))
    return Table([Column(name, name) for name in names], rows)


def _known(value: float) -> float | None:
    return None if isnan(value) else value
