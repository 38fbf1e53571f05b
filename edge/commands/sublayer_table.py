"""Latency of each sublayer in one pass: one row per layer, and their sum compared with the whole pass."""

from typing import TYPE_CHECKING, Any

from edge.picture.coverage import coverage_text, share_title
from edge.picture.part_titles import part_title
from edge.tables import Cell, Column, Table
from models.parts import layers_of
from models.sites import SUBLAYERS

if TYPE_CHECKING:
    from edge.timing import SublayerTiming

_COLUMNS = (
    Column("layer", "layer"),
    Column("attn_measured_ms", "attention ms, measured", ".3f"),
    Column("attn_scaled_ms", "scaled", ".3f"),
    Column("ffn_measured_ms", "FFN ms, measured", ".3f"),
    Column("ffn_scaled_ms", "scaled", ".3f"),
)


def sublayer_table(timing: "SublayerTiming") -> Table:
    """Attention and FFN of each layer, each with its norm, as measured and scaled; and their share.

    Shares are of the uninstrumented latency, or of the instrumented pass if timers slowed it. The heading says which.
    """
    heading = f"share {share_title(timing)}"
    rows: list[tuple[Cell, ...]] = []
    for layer in layers_of(timing.measured_ns):
        scopes = [f"layers.{layer}.{sublayer}" for sublayer in SUBLAYERS]
        times = [took.get(scope, 0.0) / 1e6 for scope in scopes for took in (timing.measured_ns, timing.scaled_ns)]
        rows.append((str(layer), *times, sum(timing.shares.get(scope, 0.0) for scope in scopes)))
    return Table((*_COLUMNS, Column("share", heading, ".1%")), rows)


def sublayer_sum(timing: "SublayerTiming") -> str:
    """The parts outside layers, the total, and the coverage: the sum of all parts divided by the total."""
    outside = ", ".join(
        f"{part_title(scope)} {took / 1e6:.3f}"
        for scope, took in timing.measured_ns.items()
        if not scope.startswith("layers.")
    )
    what = "a decode step" if timing.tokens == 1 else f"a pass over {timing.tokens} tokens"
    return (
        f"outside layers, measured ms: {outside or 'nothing'}\n"
        f"{what}, {timing.depth} cached tokens: {timing.total_ns / 1e6:.3f} ms on {timing.engine}, "
        f"{timing.threads} threads, median of {timing.repeats}\n"
        f"coverage {coverage_text(timing)} ({timing.method})"
    )


def sublayer_record(timing: "SublayerTiming") -> dict[str, Any]:
    """The same as JSON, in milliseconds."""
    return {
        "tokens": timing.tokens,
        "depth": timing.depth,
        "repeats": timing.repeats,
        "threads": timing.threads,
        "method": timing.method,
        "total_ms": timing.total_ns / 1e6,
        "measured_ms": {scope: took / 1e6 for scope, took in timing.measured_ns.items()},
        "scaled_ms": {scope: took / 1e6 for scope, took in timing.scaled_ns.items()},
        "shares": timing.shares,
        "shares_of": timing.basis.value,
        "coverage": timing.coverage,
        "gap_ms": None if timing.gap_ns is None else timing.gap_ns / 1e6,
    }
