"""The parts of a profiled pass as a table: time, share, bytes and operations of each, and times by differencing."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge.picture.coverage import show_reached
from edge.picture.part_titles import part_title
from edge.tables import Cell, Column, Table

if TYPE_CHECKING:
    from edge.profile.record import PassProfile, Profile, VariantProfile

_PARTS = (
    Column("engine", "engine"),
    Column("tokens", "tokens", "d"),
    Column("depth", "depth", "d"),
    Column("part", "part", part_title),
    Column("measured_ms", "measured ms", ".3f"),
    Column("p90_ms", "p90", ".3f"),
    Column("scaled_ms", "scaled ms", ".3f"),
    Column("share", "share", ".1%"),
    Column("share_of", "share of"),
    Column("coverage", "coverage", ".1%"),
    Column("touched_mb", "MB", ",.2f"),
    Column("mflops", "MFLOP", ",.1f"),
    Column("gb_per_s", "GB/s", ".1f"),
    Column("bandwidth_ratio", "share of bandwidth", show_reached),
    Column("gflops_per_s", "GFLOP/s", ".1f"),
    Column("flops_ratio", "share of peak FLOP/s", show_reached),
)

_DIFFERENCES = (
    *(Column(key, key) for key in ("engine", "tokens", "depth", "total_ms", "attn_ms", "ffn_ms", "rest_ms")),
    Column("coverage", "coverage"),
)

_IN_TITLE = {"engine", "tokens", "depth", "share_of", "coverage"}
"""Columns with one value for a whole pass: the title of the text table contains them."""


def passes_of(found: "Profile") -> Iterator[tuple["VariantProfile", "PassProfile"]]:
    """Every kind of pass of every engine at every depth."""
    for variant in found.variants:
        for at in variant.depths:
            for passes in at.passes:
                yield variant, passes


def difference_table(found: "Profile") -> Table:
    """How much shorter a pass is without attention or without FFNs, and how long it takes without layers."""
    from edge.profile.breakdown import PartBreakdown

    rows: list[tuple[Cell, ...]] = [
        (
            *(variant.engine, passes.times.tokens, passes.times.depth),
            *(took / 1e6 for took in (one.total_ns, one.attn_ns, one.ffn_ns, one.rest_ns)),
            one.coverage,
        )
        for variant, passes in passes_of(found)
        if (one := PartBreakdown(passes).differenced)
    ]
    return Table(_DIFFERENCES, rows)


def every_part(found: "Profile") -> Table:
    """One row per part of every layer, pass, depth and engine."""
    from edge.profile.breakdown import PartBreakdown, one_by_one

    rows = [
        row
        for variant, passes in passes_of(found)
        for row in part_table(found, variant, passes, one_by_one(PartBreakdown(passes))).rows
    ]
    return Table(_PARTS, rows)


def part_table(
    found: "Profile", variant: "VariantProfile", passes: "PassProfile", groups: dict[str, list[str]]
) -> Table:
    """One row per group of parts of one kind of pass."""
    from edge.profile.breakdown import PartBreakdown, part_rows

    breakdown = PartBreakdown(passes)
    rows = [
        (
            variant.engine,
            passes.times.tokens,
            passes.times.depth,
            row.part,
            row.measured_ns / 1e6,
            row.p90_ns / 1e6,
            row.scaled_ns / 1e6,
            row.share,
            breakdown.sublayers.basis.value,
            breakdown.sublayers.coverage,
            row.touched_bytes / 1e6,
            row.flops / 1e6,
            row.bytes_per_s / 1e9,
            row.bandwidth_ratio,
            row.flops_per_s / 1e9,
            row.flops_ratio,
        )
        for row in part_rows(found, breakdown, groups)
    ]
    return Table(_PARTS, rows)


def without_titled_columns(table: Table) -> Table:
    """The table without the columns whose value the title contains."""
    kept = [place for place, column in enumerate(table.columns) if column.key not in _IN_TITLE]
    return Table([table.columns[place] for place in kept], [[row[place] for place in kept] for row in table.rows])
