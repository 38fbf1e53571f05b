"""A profile as tables: end to end, memory, inside, sparsity, and what changed."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from edge.commands.changes import change_table
from edge.commands.savings import gather_table, skipped_table
from edge.picture.coverage import ABOVE_BENCHMARK, coverage_text, difference_text, show_reached
from edge.picture.units import show_bytes, show_count
from edge.tables import Cell, Column, Table

if TYPE_CHECKING:
    from edge.profile.record import PassProfile, Profile, VariantProfile

_PACE = (
    Column("engine", "engine"),
    Column("depth", "depth", "d"),
    Column("decode_p50_ms", "ms/token", ".2f"),
    Column("decode_p90_ms", "p90", ".2f"),
    Column("decode_p99_ms", "p99", ".2f"),
    Column("decode_tokens_per_s", "tok/s", ",.1f"),
    Column("bandwidth_ratio", "of reads", show_reached),
    Column("prefill_ms", "prompt ms", ".1f"),
    Column("prefill_tokens_per_s", "tok/s", ",.0f"),
    Column("spread", "spread", ".0%"),
)

_MEMORY = (
    Column("engine", "engine"),
    Column("ttft_ms", "ttft ms", ".1f"),
    Column("tokenize_ms", "tokenizing", ".2f"),
    Column("weights_on_disk_mb", "weights on disk", ",.1f"),
    Column("weights_held_mb", "held", ",.1f"),
    Column("kv_mb", "KV cache", ",.1f"),
    Column("allocator_peak_mb", "allocator peak", ",.0f"),
    Column("process_peak_mb", "process peak", ",.0f"),
    Column("forecast_mb", "foreseen", ",.0f"),
)

_PARTS = (
    Column("engine", "engine"),
    Column("tokens", "tokens", "d"),
    Column("depth", "depth", "d"),
    Column("part", "part"),
    Column("measured_ms", "measured ms", ".3f"),
    Column("p90_ms", "p90", ".3f"),
    Column("scaled_ms", "scaled ms", ".3f"),
    Column("share", "share", ".1%"),
    Column("share_of", "share of"),
    Column("coverage", "clocks cover", ".1%"),
    Column("touched_mb", "MB", ",.2f"),
    Column("mflops", "MFLOP", ",.1f"),
    Column("gb_per_s", "GB/s", ".1f"),
    Column("bandwidth_ratio", "of reads", show_reached),
    Column("gflops_per_s", "GFLOP/s", ".1f"),
    Column("flops_ratio", "of products", show_reached),
)

_DIFFERENCES = (
    *(Column(key, key) for key in ("engine", "tokens", "depth", "total_ms", "attn_ms", "ffn_ms", "rest_ms")),
    Column("coverage", "coverage"),
)

_Section = tuple[str, Table | None]
"""A title, and the table below it where there is one."""

_TOLD = {"engine", "tokens", "depth", "share_of", "coverage"}
"""Columns of parts that are one value for a whole pass, which its title tells people."""


def profile_text(found: "Profile", then: "Profile | None", by_layer: bool) -> str:
    """Everything, for people."""
    return "\n\n".join(
        f"{title}\n{table.text()}" if table else title for title, table in _with_note(_sections(found, then, by_layer))
    )


def profile_markdown(found: "Profile", then: "Profile | None") -> str:
    """Everything, as Markdown."""
    return "\n\n".join(
        f"{title}\n\n{table.markdown()}" if table else title
        for title, table in _with_note(_sections(found, then, by_layer=False))
    )


def _with_note(sections: "Iterator[_Section]") -> "Iterator[_Section]":
    """The sections, and after them what to make of rates above the sweep's, where there are any."""
    tables: list[Table] = []
    for title, table in sections:
        tables += [table] if table else []
        yield title, table
    if _goes_beyond(tables):
        yield ABOVE_BENCHMARK, None


def profile_summary(found: "Profile") -> dict[str, list[dict[str, Cell]]]:
    """The tables for scripts: what the samples come to."""
    return {
        "end_to_end": _pace_table(found).records(),
        "memory": _memory_table(found).records(),
        "parts": _every_part(found).records(),
        "differencing": _difference_table(found).records(),
    }


def profile_csv(found: "Profile") -> str:
    """A row for every part of every layer, pass, depth and engine."""
    return _every_part(found).csv()


def _difference_table(found: "Profile") -> Table:
    """What passes take less without attention, without FFNs, and what is left without layers."""
    from edge.profile.inside import Inside

    rows: list[tuple[Cell, ...]] = [
        (
            *(variant.engine, passes.times.tokens, passes.times.depth),
            *(took / 1e6 for took in (one.total_ns, one.attn_ns, one.ffn_ns, one.rest_ns)),
            one.coverage,
        )
        for variant, passes in _passes(found)
        if (one := Inside(passes).differenced)
    ]
    return Table(_DIFFERENCES, rows)


def _every_part(found: "Profile") -> Table:
    from edge.profile.inside import Inside, one_by_one

    rows = [
        row
        for variant, passes in _passes(found)
        for row in _part_table(found, variant, passes, one_by_one(Inside(passes))).rows
    ]
    return Table(_PARTS, rows)


def _sections(found: "Profile", then: "Profile | None", by_layer: bool) -> "Iterator[_Section]":
    yield _head(found), None
    yield _pace_title(found), _pace_table(found)
    yield (
        "Time to the first token of a text, tokenizing included, and what tokenizing takes of it; memory in MB",
        _memory_table(found),
    )
    for variant, passes in _passes(found):
        yield _inside_section(found, variant, passes, by_layer)
    if found.sparsity:
        skips = f"What each FFN would skip, mean over {found.sparsity.tokens} tokens of text"
        gathers = "An FFN that gathers the rows of active neurons, known beforehand (numpy, beyond the cache)"
        yield skips, skipped_table(found.sparsity)
        yield gathers, gather_table(found.sparsity)
    if then:
        yield f"Since {then.when}: medians of rounds, and where 95% of resampled ratios lie", change_table(found, then)


def _head(found: "Profile") -> str:
    from edge.profile.summary import bandwidth_bytes_per_s, flops_per_s

    machine, sweep = found.machine, found.sweeps[0]
    turns = f"{found.when}: engines in turns" if found.in_turns else f"{found.when}: one engine after another"
    lines = [
        f"{found.model} · {show_count(found.parameters)} parameters · {found.n_layers} layers · edge {found.edge}",
        f"{machine.processor}, {machine.cores} cores, {show_bytes(machine.memory_bytes)}, {machine.system}",
        f"reads {show_bytes(bandwidth_bytes_per_s(found))}/s and computes {flops_per_s(found) / 1e9:,.0f} GFLOP/s of "
        f"float32, "
        f"the best of {len(found.sweeps)} sweeps with {sweep.threads} threads",
        f"{turns}; warm-up: {found.warm_up}",
        f"energy: {_energy(found)}",
    ]
    if machine.busy is not None and machine.busy > 1.5:
        lines.append(f"NOISY: about {machine.busy:.1f} programs computed here at the same time")
    return "\n".join(lines)


def _energy(found: "Profile") -> str:
    from edge.profile.summary import paces

    spent = [(pace, pace.joules_per_token) for pace in paces(found)]
    told = [f"{pace.variant.engine} {joules:.3g} J a token" for pace, joules in spent if joules is not None]
    return f"{', '.join(told)} ({found.machine.energy})" if told else found.machine.energy


def _pace_title(found: "Profile") -> str:
    from edge.profile.summary import NOISY, paces

    course = found.variants[0].depths[0].course
    rounds = len(found.variants[0].depths[0].rounds)
    noisy = [f"{pace.variant.engine} at depth {pace.at.course.depth}" for pace in paces(found) if pace.spread > NOISY]
    warning = f"\nNOISY, medians of rounds lie further apart than {NOISY:.0%}: {', '.join(noisy)}" if noisy else ""
    threads = ", ".join(f"{variant.engine} {variant.threads}" for variant in found.variants)
    return (
        f"End to end: {rounds} rounds of {course.tokens} tokens and of a prompt of {course.prompt}; "
        f"threads: {threads}{warning}"
    )


def _pace_table(found: "Profile") -> Table:
    from edge.profile.summary import paces, quantile

    rows: list[tuple[Cell, ...]] = [
        (
            pace.variant.engine,
            pace.at.course.depth,
            *(quantile(pace.intervals_ms, q) for q in (0.5, 0.9, 0.99)),
            pace.decode_tokens_per_s,
            pace.bandwidth_ratio,
            pace.prefill_ms,
            pace.prefill_tokens_per_s,
            pace.spread,
        )
        for pace in paces(found)
    ]
    return Table(_PACE, rows)


def _memory_table(found: "Profile") -> Table:
    from edge.profile.summary import Pace

    rows: list[tuple[Cell, ...]] = []
    for variant in found.variants:
        pace, memory = Pace(found, variant, variant.depths[0]), variant.memory
        sizes = (
            *(memory.weights_bytes, memory.weights_held_bytes, memory.kv_bytes),
            *(memory.allocator_peak_bytes, memory.process_peak_bytes, variant.forecast_bytes),
        )
        told = (None if size is None else size / 1e6 for size in sizes)
        rows.append((variant.engine, pace.ttft_ms, pace.tokenize_ms, *told))
    return Table(_MEMORY, rows)


def _passes(found: "Profile") -> Iterator[tuple["VariantProfile", "PassProfile"]]:
    for variant in found.variants:
        for at in variant.depths:
            for passes in at.passes:
                yield variant, passes


def _inside_section(
    found: "Profile", variant: "VariantProfile", passes: "PassProfile", by_layer: bool
) -> tuple[str, Table]:
    from edge.profile.inside import Inside, one_by_one, over_layers

    inside, times = Inside(passes), passes.times
    what = "a decode step" if times.tokens == 1 else f"a prompt of {times.tokens} tokens"
    title = (
        f"Inside {variant.engine}: {what} at depth {times.depth}, {inside.total_ns / 1e6:.3f} ms without instruments "
        f"({len(times.whole_ns)} passes)\n"
        f"{coverage_text(inside.account)} ({variant.method})\n"
        f"shares are of {inside.account.basis}"
        + (f"\n{difference_text(inside.differenced)}" if inside.differenced else "")
        + (f"\n{', '.join(inside.fused)}: computed inside another part" if inside.fused else "")
    )
    return title, _short(_part_table(found, variant, passes, (one_by_one if by_layer else over_layers)(inside)))


def _goes_beyond(tables: Iterable[Table]) -> bool:
    """Whether a rate shows that is above what the sweep reached."""
    cells = [
        (column.form, cell)
        for table in tables
        for row in table.rows
        for column, cell in zip(table.columns, row, strict=True)
    ]
    return any(form is show_reached and isinstance(cell, float) and cell > 1.0 for form, cell in cells)


def _part_table(
    found: "Profile", variant: "VariantProfile", passes: "PassProfile", groups: dict[str, list[str]]
) -> Table:
    from edge.profile.inside import Inside, part_rows

    inside: Inside = Inside(passes)
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
            inside.account.basis.value,
            inside.account.coverage,
            row.touched_bytes / 1e6,
            row.flops / 1e6,
            row.bytes_per_s / 1e9,
            row.bandwidth_ratio,
            row.flops_per_s / 1e9,
            row.flops_ratio,
        )
        for row in part_rows(found, inside, groups)
    ]
    return Table(_PARTS, rows)


def _short(table: Table) -> Table:
    """Without the columns that a title tells."""
    kept = [place for place, column in enumerate(table.columns) if column.key not in _TOLD]
    return Table([table.columns[place] for place in kept], [[row[place] for place in kept] for row in table.rows])
