"""Where time goes: every kind of pass of a profile, engines side by side, each layer by part."""

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
from edge.report.bars import GAP, PARTS, legend_of_parts, stacked
from edge.report.markup import Markup, Section, note, numbers, tag
from edge.report.pass_kinds import PartTimes, PassKind, pass_kinds
from edge.timing import TimesByScope
from models.parts import layers_of, within_layer


def time_section(profile: Profile, model: str) -> Section:
    """Everything about a profile, beside the page's own model `model`."""
    other = f"It is a profile of {profile.model}, not of {model}, whose trace this page shows. "
    what = note(
        *([tag("strong", other)] if profile.model != model else []),
        f"Timed runs of {profile.model}, apart from the watched run above: nothing is watched in them. ",
        "A bar is a layer's time in one pass: the median of passes with a clock at every sublayer, divided as the "
        "medians of passes with a clock at every part; bars are scaled as the tables say. ",
        COVERAGE_RULE,
    )
    kinds = (_kind(kind) for kind in pass_kinds(profile))
    return Section("time", "Time", (what, machine_note(profile), _rounds(profile), legend_of_parts(), *kinds))


def machine_note(profile: Profile) -> Markup:
    """What was measured on, when, and in which order."""
    machine = profile.machine
    read, computed = show_bytes(bandwidth_bytes_per_s(profile)), show_number(flops_per_s(profile) / 1e9)
    turns = "in turns, round by round" if profile.interleaved else "one after another"
    return note(
        f"Measured {profile.when} on {machine.processor}, {machine.cores} cores, {show_bytes(machine.memory_bytes)} of "
        f"memory, {machine.system}, Python {machine.python}, edge {profile.edge}. A sweep with the same threads read "
        f"{read}/s and computed {computed} GFLOP/s. Warm-up: {profile.warm_up}. Variants ran {turns}. "
        f"Energy: {machine.energy}."
    )


def _rounds(profile: Profile) -> Markup:
    headings = (
        "engine",
        "threads",
        "depth",
        "prefill tokens",
        "prefill, ms",
        "ms/token p50",
        "p90",
        "p99",
        "tokens/s",
        "spread",
        "J/token",
        "process peak",
        "weights on disk",
        "weights in memory",
    )
    rows = [_round(summary) for summary in depth_summaries(profile) if summary.at.rounds]
    caption = (
        "End to end, without instruments. Prefill: median, first token fed to the last token's logits. ms/token: "
        "percentiles of all intervals between two tokens. tokens/s: intervals / their sum, (n−1)/(t_last−t_first). "
        f"Spread: (largest − smallest) / median of the rounds' medians; above {UNRELIABLE_SPREAD:.0%} the run is noisy."
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
        f"{'noisy ' if summary.spread > UNRELIABLE_SPREAD else ''}{summary.spread:.0%}",
        "–" if joules is None else show_number(joules),
        "–" if memory.process_peak_bytes is None else show_bytes(memory.process_peak_bytes),
        show_bytes(memory.weights_bytes),
        "–" if memory.weights_memory_bytes is None else show_bytes(memory.weights_memory_bytes),
    )


def _kind(kind: PassKind) -> Markup:
    """One kind of pass: whole passes side by side, each engine layer by layer, then each part over all layers."""
    title = tag("h3", f"{kind.title[0].upper()}{kind.title[1:]}")
    panels = tag("div", *(_panel(engine) for engine in kind.engines), class_="panels")
    return tag("div", title, _wholes(kind), panels, _sums(kind), class_="kind-of-pass")


def _wholes(kind: PassKind) -> Markup:
    """A bar an engine, as long as its pass, all on one scale."""
    longest_ns = max(engine.total_ns for engine in kind.engines)
    heads = ("engine", "", "ms p50", "p90", "coverage", "gap, ms", "shares are of", "by differencing")
    rows = (
        (
            engine.title,
            stacked(_summed(engine), longest_ns),
            _ms(engine.total_ns),
            _ms(engine.p90_ns),
            show_share(engine.sublayers.coverage),
            "not known" if engine.sublayers.gap_ns is None else _ms(engine.sublayers.gap_ns),
            str(engine.sublayers.basis),
            _differenced(engine),
        )
        for engine in kind.engines
    )
    caption = "Whole passes without instruments, all bars on one scale; colored by part."
    return numbers(caption, heads, rows, kind="bars")


def _differenced(engine: PartTimes) -> str:
    found = engine.breakdown.differenced
    return "–" if found is None else difference_text(found).removeprefix("by leaving sublayers out: ")


def _panel(engine: PartTimes) -> Markup:
    """One engine, a bar a layer, on a scale of its own."""
    rows = list(_rows(engine))
    longest_ns = max(sum(parts.values()) for _, parts in rows)
    caption = (
        f"Parts: {engine.variant.method}; {len(engine.times.sublayers_ns)} instrumented passes beside "
        f"{len(engine.times.whole_ns)} whole ones. A full bar is {show_time(longest_ns)}."
    )
    lines = ((name, stacked(parts, longest_ns), *_cells(sum(parts.values()), engine)) for name, parts in rows)
    heads = ("", "", *(head.removeprefix(f"{engine.variant.engine}, ") for head in _heads(engine)))
    return tag("div", tag("h4", engine.title), numbers(caption, heads, lines, kind="bars"))


def _rows(engine: PartTimes) -> Iterator[tuple[str, TimesByScope]]:
    """What is a bar, from the head down to the embedding as the residual stream rises, then what is in no place."""
    parts = engine.breakdown.scaled_ns
    yield from ((part, {part: parts[part]}) for part in parts if part == "head")
    for layer in reversed(layers_of(parts)):
        yield f"layer {layer}", {part: parts[part] for part in parts if part.startswith(f"layers.{layer}.")}
    yield from ((part, {part: parts[part]}) for part in parts if part != "head" and within_layer(part) == part)


def _sums(kind: PassKind) -> Markup:
    """Each part summed over layers: time as measured, scaled, and its share, three columns an engine."""
    sums = [_summed(engine) for engine in kind.engines]
    names = [*PARTS, *dict.fromkeys(name for one in sums for name in one if name not in PARTS and name != GAP), GAP]
    heads = ["part"]
    for engine in kind.engines:
        heads += _heads(engine)
    rows = [_sum_row(name, kind, sums) for name in names if any(name in one for one in sums)]
    return numbers("Each part over all layers.", heads, rows)


def _sum_row(name: str, kind: PassKind, sums: list[TimesByScope]) -> list[str]:
    cells = [name]
    for engine, one in zip(kind.engines, sums, strict=True):
        cells += _cells(one[name], engine, is_gap=name == GAP) if name in one else ("–", "–", "–")
    return cells


def _summed(engine: PartTimes) -> TimesByScope:
    sums: TimesByScope = {}
    for part, took in engine.breakdown.scaled_ns.items():
        sums[within_layer(part)] = sums.get(within_layer(part), 0.0) + took
    return sums if engine.sublayers.gap_ns is None else sums | {GAP: engine.sublayers.gap_ns}


def _heads(engine: PartTimes) -> list[str]:
    return [f"{engine.variant.engine}, measured ms", "scaled ms", f"share {share_title(engine.sublayers)}"]


def _cells(scaled_ns: float, engine: PartTimes, *, is_gap: bool = False) -> tuple[str, str, str]:
    """A time as measured, scaled, and its share; no clock measures a gap."""
    measured = "–" if is_gap else _ms(scaled_ns / engine.sublayers.scale)
    return measured, _ms(scaled_ns), f"{scaled_ns / engine.total_ns:.1%}"


def _ms(ns: float) -> str:
    """Fixed, so that a column's points align."""
    return f"{ns / 1e6:,.3f}"
