"""A profile as tables: end-to-end latency, memory, parts of a pass, sparsity, and changes since another profile."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from edge.commands.change_table import change_table
from edge.commands.part_tables import difference_table, every_part, part_table, passes_of, without_titled_columns
from edge.commands.sparsity_tables import gather_table, skipped_table
from edge.picture.coverage import ABOVE_BENCHMARK, BY_DIFFERENCING, coverage_text, difference_text, show_reached
from edge.picture.units import show_bytes, show_count
from edge.tables import Cell, Column, Table

if TYPE_CHECKING:
    from edge.profile.record import PassProfile, Profile, VariantProfile

_END_TO_END = (
    Column("engine", "engine"),
    Column("depth", "depth", "d"),
    Column("decode_p50_ms", "decode p50 ms", ".2f"),
    Column("decode_p90_ms", "p90", ".2f"),
    Column("decode_p99_ms", "p99", ".2f"),
    Column("decode_tokens_per_s", "decode tok/s, mean", ",.1f"),
    Column("bandwidth_ratio", "share of bandwidth", show_reached),
    Column("prefill_ms", "prefill ms", ".1f"),
    Column("prefill_tokens_per_s", "prefill tok/s", ",.0f"),
    Column("spread", "spread", ".0%"),
)

_MEMORY = (
    Column("engine", "engine"),
    Column("ttft_ms", "ttft ms", ".1f"),
    Column("tokenize_ms", "tokenize ms", ".2f"),
    Column("weights_on_disk_mb", "weights on disk", ",.1f"),
    Column("weights_memory_mb", "weights in memory", ",.1f"),
    Column("kv_mb", "KV cache", ",.1f"),
    Column("allocator_peak_mb", "allocator peak", ",.0f"),
    Column("process_peak_mb", "process peak", ",.0f"),
    Column("estimated_peak_mb", "estimated peak", ",.0f"),
)

_Section = tuple[str, Table | None]
"""A title and its table, if it has one."""


def profile_text(found: "Profile", then: "Profile | None", by_layer: bool) -> str:
    """All tables as text."""
    return "\n\n".join(
        f"{title}\n{table.text()}" if table else title for title, table in _with_note(_sections(found, then, by_layer))
    )


def profile_markdown(found: "Profile", then: "Profile | None") -> str:
    """All tables as Markdown."""
    return "\n\n".join(
        f"{title}\n\n{table.markdown()}" if table else title
        for title, table in _with_note(_sections(found, then, by_layer=False))
    )


def _with_note(sections: "Iterator[_Section]") -> "Iterator[_Section]":
    """The sections, then a note on rates above the benchmark's, if any."""
    tables: list[Table] = []
    for title, table in sections:
        tables += [table] if table else []
        yield title, table
    if _exceeds_benchmark(tables):
        yield ABOVE_BENCHMARK, None


def profile_summary(found: "Profile") -> dict[str, list[dict[str, Cell]]]:
    """The tables for scripts, computed from the samples."""
    return {
        "end_to_end": _end_to_end_table(found).records(),
        "memory": _memory_table(found).records(),
        "parts": every_part(found).records(),
        "differencing": difference_table(found).records(),
    }


def profile_csv(found: "Profile") -> str:
    """One row per part of every layer, pass, depth and engine."""
    return every_part(found).csv()


def _sections(found: "Profile", then: "Profile | None", by_layer: bool) -> "Iterator[_Section]":
    yield _head(found), None
    yield _end_to_end_title(found), _end_to_end_table(found)
    yield (
        "Time to first token (ttft) of a text, including tokenization; memory in MB",
        _memory_table(found),
    )
    for variant, passes in passes_of(found):
        yield _inside_section(found, variant, passes, by_layer)
    if found.sparsity:
        skips = f"Bytes that each FFN could skip, mean over {found.sparsity.tokens} tokens of text"
        gathers = "Speedup of an FFN that reads only the rows of active neurons (numpy, weights larger than the caches)"
        yield skips, skipped_table(found.sparsity)
        yield gathers, gather_table(found.sparsity)
    if then:
        title = f"Changes since {then.when}: medians of rounds, and a 95% bootstrap interval of their ratio"
        yield title, change_table(found, then)


def _head(found: "Profile") -> str:
    from edge.profile.summary import bandwidth_bytes_per_s, busy_text, flops_per_s

    machine, roofline = found.machine, found.rooflines[0]
    turns = "rounds of engines are interleaved" if found.interleaved else "engines run one after another"
    lines = [
        f"{found.model} · {show_count(found.parameters)} parameters · {found.n_layers} layers · edge {found.edge}",
        f"{machine.processor}, {machine.cores} cores, {show_bytes(machine.memory_bytes)}, {machine.system}",
        f"benchmark of this machine: {show_bytes(bandwidth_bytes_per_s(found))}/s read from memory, "
        f"{flops_per_s(found) / 1e9:,.0f} GFLOP/s in float32; the best of {len(found.rooflines)} with "
        f"{roofline.threads} threads",
        f"measured {found.when}; {turns}; warm-up: {found.warm_up}",
        f"energy: {_energy(found)}",
    ]
    if busy := busy_text(machine):
        lines.append(f"Unreliable timing: {busy}")
    return "\n".join(lines)


def _energy(found: "Profile") -> str:
    from edge.profile.summary import depth_summaries

    spent = [(summary, summary.joules_per_token) for summary in depth_summaries(found)]
    per_engine = [f"{one.variant.engine} {joules:.3g} J per token" for one, joules in spent if joules is not None]
    return f"{', '.join(per_engine)} ({found.machine.energy})" if per_engine else found.machine.energy


def _end_to_end_title(found: "Profile") -> str:
    from edge.profile.summary import UNRELIABLE_SPREAD, depth_summaries

    workload = found.variants[0].depths[0].workload
    rounds = len(found.variants[0].depths[0].rounds)
    unreliable = [
        f"{summary.variant.engine} with {summary.at.workload.depth} cached tokens"
        for summary in depth_summaries(found)
        if summary.spread > UNRELIABLE_SPREAD
    ]
    warning = (
        f"\nUnreliable timing, medians of rounds differ by over {UNRELIABLE_SPREAD:.0%}: {', '.join(unreliable)}"
        if unreliable
        else ""
    )
    threads = ", ".join(f"{variant.engine} {variant.threads}" for variant in found.variants)
    return (
        f"End to end: {rounds} rounds, each a prompt of {workload.prompt} tokens and {workload.tokens} decode steps; "
        f"threads: {threads}{warning}"
    )


def _end_to_end_table(found: "Profile") -> Table:
    from edge.profile.summary import depth_summaries, quantile

    rows: list[tuple[Cell, ...]] = [
        (
            summary.variant.engine,
            summary.at.workload.depth,
            *(quantile(summary.intervals_ms, q) for q in (0.5, 0.9, 0.99)),
            summary.decode_tokens_per_s,
            summary.bandwidth_ratio,
            summary.prefill_ms,
            summary.prefill_tokens_per_s,
            summary.spread,
        )
        for summary in depth_summaries(found)
    ]
    return Table(_END_TO_END, rows)


def _memory_table(found: "Profile") -> Table:
    from edge.profile.summary import DepthSummary

    rows: list[tuple[Cell, ...]] = []
    for variant in found.variants:
        summary, memory = DepthSummary(found, variant, variant.depths[0]), variant.memory
        sizes = (
            *(memory.weights_bytes, memory.weights_memory_bytes, memory.kv_bytes),
            *(memory.allocator_peak_bytes, memory.process_peak_bytes, variant.estimated_peak_bytes),
        )
        megabytes = (None if size is None else size / 1e6 for size in sizes)
        rows.append((variant.engine, summary.ttft_ms, summary.tokenize_ms, *megabytes))
    return Table(_MEMORY, rows)


def _inside_section(
    found: "Profile", variant: "VariantProfile", passes: "PassProfile", by_layer: bool
) -> tuple[str, Table]:
    from edge.profile.breakdown import PartBreakdown, one_by_one, over_layers

    breakdown, times = PartBreakdown(passes), passes.times
    what = "a decode step" if times.tokens == 1 else f"prefill of {times.tokens} tokens"
    title = (
        f"Inside {variant.engine}: {what}, {times.depth} cached tokens, {breakdown.total_ns / 1e6:.3f} ms "
        f"uninstrumented ({len(times.whole_ns)} passes)\n"
        f"coverage {coverage_text(breakdown.sublayers)} ({variant.method})\n"
        f"shares are of {breakdown.sublayers.basis}"
        + (f"\n{BY_DIFFERENCING}: {difference_text(breakdown.differenced)}" if breakdown.differenced else "")
        + (f"\n{', '.join(breakdown.fused)}: computed inside another part" if breakdown.fused else "")
    )
    groups = (one_by_one if by_layer else over_layers)(breakdown)
    return title, without_titled_columns(part_table(found, variant, passes, groups))


def _exceeds_benchmark(tables: Iterable[Table]) -> bool:
    """Whether any rate shown exceeds the benchmark's."""
    cells = [
        (column.form, cell)
        for table in tables
        for row in table.rows
        for column, cell in zip(table.columns, row, strict=True)
    ]
    return any(form is show_reached and isinstance(cell, float) and cell > 1.0 for form, cell in cells)
