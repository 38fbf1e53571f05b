"""What changed between two profiles, as a table."""

from typing import TYPE_CHECKING

from edge.tables import Column, Table

if TYPE_CHECKING:
    from edge.profile.record import Profile

_CHANGES = (
    Column("engine", "engine"),
    Column("depth", "depth", "d"),
    Column("what", "what"),
    Column("then_ms", "then ms", ".3f"),
    Column("now_ms", "now ms", ".3f"),
    Column("ratio", "now / then", ".2f"),
    Column("low", "from", ".2f"),
    Column("high", "to", ".2f"),
    Column("verdict", "verdict"),
)


def change_table(found: "Profile", then: "Profile") -> Table:
    """Every time that both profiles have, and whether it changed beyond noise."""
    from edge.profile.against import changes

    rows = [
        (
            one.engine,
            one.depth,
            one.what,
            one.then_ms,
            one.now_ms,
            one.ratio,
            one.low,
            one.high,
            ("faster" if one.ratio < 1 else "slower") if one.is_real else "within noise",
        )
        for one in changes(then, found)
    ]
    return Table(_CHANGES, rows)
