"""The section "Time": every kind of pass of a profile, engines next to each other, each layer divided into parts."""

from collections.abc import Iterator

from edge.picture.coverage import COVERAGE_RULE, difference_text, share_title
from edge.picture.units import show_bytes, show_number, show_share, show_time
from edge.profile.record import Profile
from edge.profile.summary import (
    UNRELIABLE_SPREAD,
    DepthSummary,
    bandwidth_bytes_per_s,
    depth_summaries,
    flops_per_s,
    quantile,
)
from edge.report.bars import PARTS, UNATTRIBUTED, legend_of_parts, stacked
from edge.report.markup import Markup, Section, note, numbers, tag
from edge.report.pass_kinds import PartTimes, PassKind, pass_kinds
from edge.timing import TimesByScope
from models.parts import layers_of, within_layer

_PARTS = (
    "Parts of attention: qkv, the query, key and value projections; core, positions, scores, softmax and weighted sum; "
    "out, the output projection. Parts of the FFN: up, the up projection and the gate; act, the activation; down, the "
    "down projection. head: the final norm and the unembedding. other: operations outside these parts."
)


def time_section(profile: Profile, model: str) -> Section:
    """The section of a profile. `model` is the model of the page's trace."""
    other = f"This profile is of {profile.model}; the trace on this page is of {model}. "
    what = note(
        *([tag("strong", other)] if profile.model != model else []),
        f"Latency of {profile.model}, timed separately from the run above, without watching. ",
        "A bar is the time of one layer in one pass. It is the median of passes with a timer at every sublayer, "
        "divided in proportion to the medians of passes with a timer at every part. Bars show scaled times. ",
        COVERAGE_RULE,
    )
    kinds = (_kind(kind) for kind in pass_kinds(profile))
    return Section(
        "time", "Time", (what, note(_PARTS), machine_note(profile), _rounds(profile), legend_of_parts(), *kinds)
    )


def machine_note(profile: Profile) -> Markup:
    """The machine, the date, and the order of the measurements."""
    machine = profile.machine
    read, computed = show_bytes(bandwidth_bytes_per_s(profile)), show_number(flops_per_s(profile) / 1e9)
    order = "in interleaved rounds" if profile.interleaved else "one after another"
    return note(
        f"Measured {profile.when} on {machine.processor}, {machine.cores} cores, {show_bytes(machine.memory_bytes)} of "
        f"memory, {machine.system}, Python {machine.python}, edge {profile.edge}. Benchmark with the same threads: "
        f"{read}/s read from memory, {computed} GFLOP/s. Warm-up: {profile.warm_up}. Engines ran {order}. Energy: "
        f"{machine.energy}."
    )


def _rounds(profile: Profile) -> Markup:
    headings = (
        "engine",
        "threads",
        "depth",
        "prefill tokens",
        "prefill, ms",
        "decode p50, ms",
        "p90",
        "p99",
        "decode tok/s, mean",
        "spread",
        "J/token",
        "process peak",
        "weights on disk",
        "weights in memory",
    )
    rows = [_round(summary) for summary in depth_summaries(profile) if summary.at.rounds]
    caption = (
        "End-to-end latency, uninstrumented. Prefill: median from the first token fed to the logits of the last "
        "token. p50, p90, p99: percentiles of inter-token latency. tok/s: (n − 1) / (t_last − t_first), the mean "
        "rate. Spread: (largest − smallest) / median of the medians of rounds; timing is unreliable above "
        f"{UNRELIABLE_SPREAD:.0%}."
    )
    return numbers(caption, headings, rows)


def _round(summary: DepthSummary) -> tuple[str, ...]:
    variant, workload, memory, joules = (
        summary.variant,
        summary.at.workload,
        summary.variant.memory,
        summary.joules_per_token,
    )
    return (
        variant.engine,
        str(variant.threads),
        f"{workload.depth:,}",
        f"{workload.prompt:,}",
        show_number(summary.prefill_ms),
        *(show_number(quantile(summary.intervals_ms, q)) for q in (0.5, 0.9, 0.99)),
        show_number(summary.decode_tokens_per_s),
        f"{'unreliable ' if summary.spread > UNRELIABLE_SPREAD else ''}{summary.spread:.0%}",
        "–" if joules is None else show_number(joules),
        "–" if memory.process_peak_bytes is None else show_bytes(memory.process_peak_bytes),
        show_bytes(memory.weights_bytes),
        "–" if memory.weights_memory_bytes is None else show_bytes(memory.weights_memory_bytes),
    )


def _kind(kind: PassKind) -> Markup:
    """One kind of pass: whole passes of all engines, the layers of each engine, then each part summed over layers."""
    title = tag("h3", f"{kind.title[0].upper()}{kind.title[1:]}")
    panels = tag("div", *(_panel(engine) for engine in kind.engines), class_="panels")
    return tag("div", title, _whole_passes(kind), panels, _part_sums(kind), class_="kind-of-pass")


def _whole_passes(kind: PassKind) -> Markup:
    """One bar per engine, as long as its pass, all on one scale."""
    longest_ns = max(engine.total_ns for engine in kind.engines)
    heads = ("engine", "", "ms p50", "p90", "coverage", "unattributed, ms", "shares are of", "by differencing")
    rows = (
        (
            engine.title,
            stacked(_summed(engine), longest_ns),
            _ms(engine.total_ns),
            _ms(engine.p90_ns),
            show_share(engine.sublayers.coverage),
            "unknown" if engine.sublayers.gap_ns is None else _ms(engine.sublayers.gap_ns),
            str(engine.sublayers.basis),
            _differenced(engine),
        )
        for engine in kind.engines
    )
    caption = (
        "Whole passes. p50 and p90: uninstrumented latency. All bars have one scale, and are colored by part. By "
        "differencing: a whole pass minus a pass without attention, or without FFNs."
    )
    return numbers(caption, heads, rows, kind="bars")


def _differenced(engine: PartTimes) -> str:
    found = engine.breakdown.differenced
    return "–" if found is None else difference_text(found)


def _panel(engine: PartTimes) -> Markup:
    """One engine, with one bar per layer. The scale is that of the engine's longest bar."""
    rows = list(_rows(engine))
    longest_ns = max(sum(parts.values()) for _, parts in rows)
    caption = (
        f"Parts: {engine.variant.method}; {len(engine.times.sublayers_ns)} instrumented passes, "
        f"{len(engine.times.whole_ns)} uninstrumented ones. A full bar is {show_time(longest_ns)}."
    )
    lines = ((name, stacked(parts, longest_ns), *_cells(sum(parts.values()), engine)) for name, parts in rows)
    heads = ("", "", *(head.removeprefix(f"{engine.variant.engine}, ") for head in _heads(engine)))
    return tag("div", tag("h4", engine.title), numbers(caption, heads, lines, kind="bars"))


def _rows(engine: PartTimes) -> Iterator[tuple[str, TimesByScope]]:
    """The bars: head, layers from the last to the first, embedding, and the time that belongs to none of these."""
    parts = engine.breakdown.scaled_ns
    yield from ((part, {part: parts[part]}) for part in parts if part == "head")
    for layer in reversed(layers_of(parts)):
        yield f"layer {layer}", {part: parts[part] for part in parts if part.startswith(f"layers.{layer}.")}
    yield from ((part, {part: parts[part]}) for part in parts if part != "head" and within_layer(part) == part)


def _part_sums(kind: PassKind) -> Markup:
    """Each part summed over layers, with three columns per engine: time as measured, scaled time, and share."""
    sums = [_summed(engine) for engine in kind.engines]
    listed = {*PARTS, UNATTRIBUTED}
    others = dict.fromkeys(name for one in sums for name in one if name not in listed)
    names = [*PARTS, *others, UNATTRIBUTED]
    heads = ["part"]
    for engine in kind.engines:
        heads += _heads(engine)
    rows = [_sum_row(name, kind, sums) for name in names if any(name in one for one in sums)]
    return numbers("Each part, summed over all layers.", heads, rows)


def _sum_row(name: str, kind: PassKind, sums: list[TimesByScope]) -> list[str]:
    cells = [name]
    for engine, one in zip(kind.engines, sums, strict=True):
        is_rest = name == UNATTRIBUTED
        cells += _cells(one[name], engine, is_unattributed=is_rest) if name in one else ("–", "–", "–")
    return cells


def _summed(engine: PartTimes) -> TimesByScope:
    sums: TimesByScope = {}
    for part, took in engine.breakdown.scaled_ns.items():
        sums[within_layer(part)] = sums.get(within_layer(part), 0.0) + took
    return sums if engine.sublayers.gap_ns is None else sums | {UNATTRIBUTED: engine.sublayers.gap_ns}


def _heads(engine: PartTimes) -> list[str]:
    return [f"{engine.variant.engine}, measured ms", "scaled ms", f"share {share_title(engine.sublayers)}"]


def _cells(scaled_ns: float, engine: PartTimes, *, is_unattributed: bool = False) -> tuple[str, str, str]:
    """A time as measured, scaled, and its share; no timer measures the unattributed time."""
    measured = "–" if is_unattributed else _ms(scaled_ns / engine.sublayers.scale)
    return measured, _ms(scaled_ns), f"{scaled_ns / engine.total_ns:.1%}"


def _ms(ns: float) -> str:
    """Milliseconds with three decimals, so that the decimal points of a column are aligned."""
    return f"{ns / 1e6:,.3f}"
