"""Where one pass spends its time, printed: a row a layer, and the sum beside the whole."""

from typing import TYPE_CHECKING, Any

from edge.commands.tables import Cell, Column, Table

if TYPE_CHECKING:
    from edge.timing import SublayerTiming

_COLUMNS = (
    Column("layer", "layer"),
    Column("attn_ms", "attention ms", ".3f"),
    Column("ffn_ms", "FFN ms", ".3f"),
    Column("share", "share", ".1%"),
)


def sublayer_table(timing: "SublayerTiming") -> Table:
    """Attention and FFN of each layer, each with its norm; shares are of the un-instrumented total."""
    parts = timing.parts_ns
    layers = sorted({int(scope.split(".")[1]) for scope in parts if scope.startswith("layers.")})
    rows: list[tuple[Cell, ...]] = []
    for layer in layers:
        attn, ffn = parts.get(f"layers.{layer}.attn", 0.0), parts.get(f"layers.{layer}.ffn", 0.0)
        rows.append((str(layer), attn / 1e6, ffn / 1e6, (attn + ffn) / timing.total_ns))
    return Table(_COLUMNS, rows)


def sublayer_sum(timing: "SublayerTiming") -> str:
    """The parts outside layers, the total, and how much of it the parts account for."""
    parts = timing.parts_ns
    outside = ", ".join(f"{scope} {took / 1e6:.3f}" for scope, took in parts.items() if not scope.startswith("layers."))
    what = "a decode step" if timing.tokens == 1 else f"a pass over {timing.tokens} tokens"
    return (
        f"outside layers, ms: {outside or 'nothing'}\n"
        f"{what} at depth {timing.depth}: {timing.total_ns / 1e6:.3f} ms on {timing.engine}, "
        f"{timing.threads} threads, median of {timing.repeats}\n"
        f"parts as measured cover {timing.coverage:.1%} of it, gap {timing.gap_ns / 1e6:.3f} ms ({timing.method})"
    )


def sublayer_record(timing: "SublayerTiming") -> dict[str, Any]:
    """The same for scripts, in milliseconds."""
    return {
        "tokens": timing.tokens,
        "depth": timing.depth,
        "repeats": timing.repeats,
        "threads": timing.threads,
        "method": timing.method,
        "total_ms": timing.total_ns / 1e6,
        "parts_ms": {scope: took / 1e6 for scope, took in timing.parts_ns.items()},
        "coverage": timing.coverage,
        "gap_ms": timing.gap_ns / 1e6,
    }
