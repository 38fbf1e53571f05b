"""Costs of engines as rows of a table: end to end, within a pass, and in memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from edge.picture.part_titles import part_title
from edge.picture.units import show_bytes, show_number
from edge.profile.breakdown import PartRow, part_rows
from edge.profile.record import Profile
from edge.profile.summary import (
    UNRELIABLE_SPREAD,
    DepthSummary,
    bandwidth_bytes_per_s,
    busy_text,
    flops_per_s,
    quantile,
)
from edge.report.pass_kinds import PartTimes, PassKind
from edge.timing import Basis, TimeBreakdown, TimesByScope
from models.parts import known_parts, layers_of, sublayer_of, within_layer
from models.sites import SUBLAYERS
from tui.cost_table import Cost, CostRow, Heading, Split

CLOCKED = f"of {Basis.CLOCKED}"

PARTS = {part: part_title(part) for part in (*SUBLAYERS, "embed", "head", "other", "gap")}
"""The parts of a pass, in order of computation, with their titles."""


@dataclass(frozen=True)
class Costs:
    """One kind of pass on every engine."""

    profile: Profile
    kind: PassKind

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines as the user names them."""
        return tuple(one.variant.engine for one in self.kind.engines)

    @property
    def accounts(self) -> tuple[TimeBreakdown, ...]:
        """The pass of each engine, by part."""
        return tuple(one.sublayers for one in self.kind.engines)

    @property
    def is_decode(self) -> bool:
        return self.kind.tokens == 1

    @property
    def title(self) -> str:
        """`a decode step, 64 cached tokens`, `prefill of 64 tokens, 64 cached tokens`."""
        return self.kind.title


def cost_rows(costs: Costs) -> Iterator[CostRow]:
    """All rows, from end-to-end latency to memory."""
    summaries = [_speed(costs.profile, one) for one in costs.kind.engines]
    if doubts := _doubts(costs.profile, summaries):
        yield Heading(doubts, warns=True)
    yield from _end_to_end(costs, summaries)
    yield from _inside(costs)
    yield from _against_machine(costs, summaries)
    yield from _memory(costs.kind.engines)
    yield from _conditions(costs, summaries)


def _speed(profile: Profile, part: PartTimes) -> DepthSummary:
    at = next(at for at in part.variant.depths if part.breakdown.passes in at.passes)
    return DepthSummary(profile, part.variant, at)


def _end_to_end(costs: Costs, summaries: list[DepthSummary]) -> Iterator[CostRow]:
    rounds, workload = len(summaries[0].at.rounds), summaries[0].at.workload
    if costs.is_decode:
        yield Heading(f"inter-token latency, end to end · {rounds} rounds of {workload.tokens} tokens")
        for name, q in (("p50", 0.5), ("p90", 0.9)):
            yield Cost(name, "ms", tuple(quantile(summary.intervals_ms, q) for summary in summaries))
        yield Cost("rate, mean", "tok/s", tuple(summary.decode_tokens_per_s for summary in summaries))
        return
    yield Heading(f"prefill, end to end · {rounds} rounds of {workload.prompt} tokens")
    yield Cost("p50", "ms", tuple(summary.prefill_ms for summary in summaries))
    yield Cost("rate", "tok/s", tuple(summary.prefill_tokens_per_s for summary in summaries))
    firsts = [summary.ttft_ms for summary in summaries]
    if any(one is not None for one in firsts):
        tokens = summaries[0].variant.first_tokens[0].prompt_tokens
        yield Cost(f"ttft of {tokens} tokens", "ms", tuple(firsts))


def _inside(costs: Costs) -> Iterator[CostRow]:
    engines = costs.kind.engines
    yield Heading(
        f"one pass · median of {len(engines[0].times.whole_ns)} uninstrumented passes, and as many instrumented"
    )
    yield Cost("uninstrumented, p50", "ms", tuple(one.total_ns / 1e6 for one in engines))
    yield Cost("uninstrumented, p90", "ms", tuple(one.p90_ns / 1e6 for one in engines))
    yield Split(costs.accounts)
    yield from divided_rows(costs.accounts, costs.engines)
    yield from _differenced(engines)


def _differenced(engines: tuple[PartTimes, ...]) -> Iterator[CostRow]:
    """Time saved by a pass without attention, without FFNs; and the time without layers."""
    found = [one.breakdown.differenced for one in engines]
    if not any(found):
        return
    yield Heading("by differencing · a pass minus a pass without attention, without FFNs")
    for title, name in (("attention", "attn_ns"), ("FFN", "ffn_ns"), ("outside layers", "rest_ns")):
        yield Cost(title, "ms", _ms(None if one is None else getattr(one, name) for one in found))
    yield Cost("whole pass", "ms", _ms(None if one is None else one.total_ns for one in found))
    yield Cost("sum / whole pass", "share", tuple(None if one is None else one.coverage for one in found))


def divided_rows(accounts: Sequence[TimeBreakdown], names: Sequence[str]) -> Iterator[CostRow]:
    """Each kind of part over all layers, unattributed time, and coverage.

    Where timers slowed a pass, measured and scaled times have separate rows.
    """
    slowed = [name for name, account in zip(names, accounts, strict=True) if account.basis is Basis.CLOCKED]
    sums = [account.sums_ns for account in accounts]
    for part, title in PARTS.items():
        took = [one.get(part) for one in sums]
        if any(ns is not None for ns in took):
            shares = tuple(_over(ns, account.total_ns) for ns, account in zip(took, accounts, strict=True))
            yield Cost(title, "ms", _ms(took), shares)
    yield Cost("coverage", "share", tuple(account.coverage for account in accounts))
    if scaled := [name for name, account in zip(names, accounts, strict=True) if account.coverage > 1]:
        yield Heading(f"above 100% coverage, times are scaled down to the pass: {', '.join(scaled)}")
    if slowed:
        yield Heading(f"as measured · timers slowed {', '.join(slowed)}: shares are {CLOCKED}", warns=True)
        measured = [account.measured_sums_ns for account in accounts]
        for part, title in PARTS.items():
            took = [one.get(part) for one in measured]
            if any(ns is not None for ns in took):
                yield Cost(f"{title}, measured", "ms", _ms(took))


def _over(part_ns: float | None, total_ns: float) -> float | None:
    return None if part_ns is None else part_ns / total_ns


def _against_machine(costs: Costs, summaries: list[DepthSummary]) -> Iterator[CostRow]:
    """Bytes for a decode step, which is bound by memory; FLOPs for a prefill, which is bound by arithmetic."""
    profile = costs.profile
    rows = [_sublayer_rows(profile, one) for one in costs.kind.engines]
    if costs.is_decode:
        best = bandwidth_bytes_per_s(profile)
        yield Heading(f"bandwidth · share of the {show_bytes(best)}/s of a memory benchmark")
        yield Cost("bytes per token", "bytes", tuple(summary.decode_bytes for summary in summaries))
        ratios = tuple(summary.bandwidth_ratio for summary in summaries)
        rates_read = tuple(None if ratio is None else ratio * best / 1e9 for ratio in ratios)
        yield Cost("end to end", "GB/s", rates_read, ratios, of_benchmark=True)
        for part in SUBLAYERS:
            found = [one[part] for one in rows]
            rates = tuple(row.bytes_per_s / 1e9 for row in found)
            yield Cost(PARTS[part], "GB/s", rates, tuple(row.bandwidth_ratio for row in found), of_benchmark=True)
        return
    best = flops_per_s(profile) / 1e9
    yield Heading(f"compute · share of the {show_number(best)} GFLOP/s of a float32 benchmark")
    for part in SUBLAYERS:
        found = [one[part] for one in rows]
        rates = tuple(row.flops_per_s / 1e9 for row in found)
        yield Cost(PARTS[part], "GFLOP/s", rates, tuple(row.flops_ratio for row in found), of_benchmark=True)


def _sublayer_rows(profile: Profile, one: PartTimes) -> dict[str, PartRow]:
    groups: dict[str, list[str]] = {name: [] for name in SUBLAYERS}
    for part in one.breakdown.parts:
        groups.get(within_layer(sublayer_of(part)), []).append(part)
    return {row.part: row for row in part_rows(profile, one.breakdown, groups)}


def _memory(engines: tuple[PartTimes, ...]) -> Iterator[CostRow]:
    held = [one.variant.memory for one in engines]
    yield Heading("memory · one process per engine")
    yield Cost("process peak", "bytes", tuple(one.process_peak_bytes for one in held))
    yield Cost("allocator peak", "bytes", tuple(one.allocator_peak_bytes for one in held))
    yield Cost("weights on disk", "bytes", tuple(one.weights_bytes for one in held))
    yield Cost("weights in memory", "bytes", tuple(one.weights_memory_bytes for one in held))
    yield Cost("KV cache", "bytes", tuple(one.kv_bytes for one in held))


def _doubts(profile: Profile, summaries: list[DepthSummary]) -> str:
    """Why the timing is unreliable; empty where it is not."""
    doubts = [busy] if (busy := busy_text(profile.machine)) else []
    if any(summary.spread > UNRELIABLE_SPREAD for summary in summaries):
        doubts.append(f"medians of rounds differ by over {UNRELIABLE_SPREAD:.0%}")
    return f"Unreliable timing: {', '.join(doubts)}" if doubts else ""


def _conditions(costs: Costs, summaries: list[DepthSummary]) -> Iterator[CostRow]:
    order = "in interleaved rounds" if costs.profile.interleaved else "one engine after another"
    yield Heading(f"measured {order}, without redrawing")
    yield Cost("spread of rounds", "share", tuple(summary.spread for summary in summaries))
    yield Cost("threads", "count", tuple(float(summary.variant.threads) for summary in summaries))


def part_costs(costs: Costs, layer: int) -> Iterator[CostRow]:
    """Latency of the parts of attention and of the FFN: over all layers, and in one layer."""
    engines = costs.kind.engines
    slowed = [one.variant.engine for one in engines if one.sublayers.basis is Basis.CLOCKED]
    of = f"{', '.join(slowed)}: scaled, shares {CLOCKED}" if slowed else "share of the pass"
    yield Heading(f"all layers · {of}", warns=bool(slowed))
    sums = [_over_layers(one.breakdown.scaled_ns) for one in engines]
    named = [name for name in known_parts() if any(name in one for one in sums)]
    yield from (_part_cost(name, [one.get(name) for one in sums], engines) for name in named)
    yield Heading(f"layer {layer}")
    for name in named:
        took = [one.breakdown.scaled_ns.get(f"layers.{layer}.{name}") for one in engines]
        yield _part_cost(name, took, engines)


def _over_layers(parts_ns: TimesByScope) -> TimesByScope:
    sums: TimesByScope = {}
    for part, took in parts_ns.items():
        sums[within_layer(part)] = sums.get(within_layer(part), 0.0) + took
    return sums


def _part_cost(name: str, took_ns: list[float | None], engines: tuple[PartTimes, ...]) -> Cost:
    shares = [_over(ns, one.total_ns) for ns, one in zip(took_ns, engines, strict=True)]
    return Cost(name, "ms", _ms(took_ns), tuple(shares))


def layer_ms(accounts: Sequence[TimeBreakdown]) -> Iterator[Cost]:
    """Attention and FFN of each layer, in milliseconds: measured, and scaled."""
    for layer in layers_of(scope for account in accounts for scope in account.measured_ns):
        for part in SUBLAYERS:
            scope, title = f"layers.{layer}.{part}", f"layer {layer} {PARTS[part]}"
            yield Cost(f"{title}, measured", "ms", _ms(account.measured_ns.get(scope) for account in accounts))
            yield Cost(f"{title}, scaled", "ms", _ms(account.scaled_ns.get(scope) for account in accounts))


def _ms(took_ns: Iterable[float | None]) -> tuple[float | None, ...]:
    return tuple(None if ns is None else ns / 1e6 for ns in took_ns)


def timing_rows(accounts: Sequence[TimeBreakdown], names: Sequence[str]) -> Iterator[CostRow]:
    """One pass of each run, by part: the table before engines are timed."""
    yield Cost("uninstrumented", "ms", tuple(account.total_ns / 1e6 for account in accounts))
    yield from divided_rows(accounts, names)
    yield from layer_ms(accounts)
