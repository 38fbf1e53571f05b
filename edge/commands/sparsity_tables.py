"""What inactive neurons would save: bytes per layer, and the speedup of an FFN that reads active neurons only."""

from typing import TYPE_CHECKING

from edge.tables import Cell, Column, Table

if TYPE_CHECKING:
    from edge.profile.sparsity_savings import SparsityProfile

_SKIPPED = (Column("layer", "layer"), Column("ffn_mb", "FFN MB", ",.2f"))

_CURVE = (
    Column("active", "active neurons", ".1%"),
    Column("gathered_ms", "gathered ms", ".3f"),
    Column("dense_ms", "dense FFN ms", ".3f"),
    Column("gain", "speedup", ".2f"),
)


def skipped_table(found: "SparsityProfile") -> Table:
    """Bytes of each layer's FFN that an ideal FFN would not read, for each definition of sparsity."""
    from edge.measure.registry import SHARE_MEASURES

    columns = [
        column
        for measure in SHARE_MEASURES
        for column in (
            Column(measure.key, measure.title, measure.unit.show),
            Column(f"{measure.key}_mb", "MB skipped", ",.2f"),
        )
    ]
    rows: list[tuple[Cell, ...]] = [
        (
            str(one.layer),
            one.ffn_bytes / 1e6,
            *(
                number
                for measure in SHARE_MEASURES
                for number in (one.inactive[measure.key], one.skipped_bytes[measure.key] / 1e6)
            ),
        )
        for one in found.layers
    ]
    return Table((*_SKIPPED, *columns), rows)


def gather_table(found: "SparsityProfile") -> Table:
    """Speedup of reading active rows only, per share of active neurons."""
    return Table(_CURVE, [(one.active, one.took_ns / 1e6, one.dense_ns / 1e6, one.gain) for one in found.curve])
