"""Changes between two profiles as a table."""

from typing import TYPE_CHECKING

from edge.tables import Column, Table

if TYPE_CHECKING:
    from edge.profile.record import Profile

_CHANGES = (
    Column("engine", "engine"),
    Column("depth", "depth", "d"),
    Column("what", "what"),
    Column("before_ms", "before ms", ".3f"),
    Column("after_ms", "after ms", ".3f"),
    Column("ratio", "after / before", ".2f"),
    Column("low", "95% low", ".2f"),
    Column("high", "95% high", ".2f"),
    Column("verdict", "verdict"),
)


def change_table(found: "Profile", then: "Profile") -> Table:
    """One row per time in both profiles, and whether it changed by more than noise."""
    from edge.profile.changes import changes

    rows = [
        (
            one.engine,
            one.depth,
            one.what,
            one.before_ms,
            one.after_ms,
            one.ratio,
            one.low,
            one.high,
            ("faster" if one.ratio < 1 else "slower") if one.is_significant else "within noise",
        )
        for one in changes(then, found)
    ]
    return Table(_CHANGES, rows)
