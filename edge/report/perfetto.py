"""A profile as a timeline for ui.perfetto.dev and Chrome: one track per engine, parts nested in their pass.

The format is Chrome's Trace Event Format in JSON: complete events (`ph` "X") with `ts` and `dur` in microseconds, and
metadata events (`ph` "M") with the names of the process and its tracks.
"""

from collections.abc import Iterator
from typing import Any

from edge.picture.coverage import share_title
from edge.profile.record import Profile
from edge.report.pass_kinds import PartTimes, PassKind, pass_kinds, variant_title

Event = dict[str, Any]

PROCESS = 1

_PAUSE_NS = 100_000
"""Pause between two kinds of pass. Each kind begins at the same time on every track, so that engines are aligned."""


def perfetto_events(profile: Profile) -> list[Event]:
    """The events of a profile, for `{"traceEvents": [...]}`.

    The length of a pass is the uninstrumented latency: the median of passes without timers. Its parts follow one
    another in order of computation, scaled down if they sum to more than the pass. The rest is unattributed time. The
    parts of a sublayer divide its time in proportion; their begin and end were not measured.
    """
    events = [_named("process_name", 0, f"edge profile: {profile.model}")]
    tracks = {(variant.engine, variant.threads): place for place, variant in enumerate(profile.variants, 1)}
    for (engine, threads), track in tracks.items():
        events.append(_named("thread_name", track, variant_title(engine, threads)))
        events.append(_named("thread_sort_index", track, track))
    start_ns = 0
    for kind in pass_kinds(profile):
        for one in kind.engines:
            events += _pass(kind, one, tracks[one.variant.engine, one.variant.threads], start_ns)
        start_ns += max(round(one.total_ns) for one in kind.engines) + _PAUSE_NS
    return events


def timeline(profile: Profile) -> dict[str, Any]:
    """The whole file, as `json` writes it."""
    return {"traceEvents": perfetto_events(profile), "displayTimeUnit": "ns"}


def _named(name: str, track: int, value: str | int) -> Event:
    key = "sort_index" if name == "thread_sort_index" else "name"
    return {"name": name, "ph": "M", "pid": PROCESS, "tid": track, "args": {key: value}}


def _pass(kind: PassKind, engine: PartTimes, track: int, start_ns: int) -> Iterator[Event]:
    """The pass with nested layers, sublayers and parts. All ends are whole nanoseconds, so that slices nest."""
    account, scaled_ns, total_ns = engine.sublayers, engine.breakdown.scaled_ns, round(engine.total_ns)
    parts = list(scaled_ns)
    details = {
        "what": f"median of {len(engine.times.whole_ns)} uninstrumented passes",
        "parts": f"medians of {len(engine.times.parts_ns)} instrumented passes, {engine.variant.method}",
        "coverage of parts as measured": round(account.coverage, 4),
        "gap_us": "unknown" if account.gap_ns is None else account.gap_ns / 1e3,
    }
    yield _slice(kind.title, track, start_ns, start_ns + total_ns, details)
    end_of, end_ns = {}, 0.0
    for part in parts:
        end_ns += scaled_ns[part]
        end_of[part] = start_ns + min(round(end_ns), total_ns)
    begin_of = dict(zip(parts, [start_ns, *end_of.values()], strict=False))
    for path, inside in _nested(parts):
        share = sum(scaled_ns[part] for part in inside) / engine.total_ns
        measured_us = sum(engine.breakdown.measured_ns[part] for part in inside) / 1e3
        details = {f"share {share_title(account)}": round(share, 4), "measured_us": round(measured_us, 3)}
        yield _slice(_short(path), track, begin_of[inside[0]], end_of[inside[-1]], details)


def _nested(parts: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Each layer, each sublayer and each part, outer before inner, with the parts in it."""
    paths = dict.fromkeys(".".join(part.split(".")[:words]) for words in (2, 3, 4) for part in parts)
    for path in paths:
        yield path, [part for part in parts if part == path or part.startswith(f"{path}.")]


def _short(path: str) -> str:
    """`layer 3` for `layers.3`; the last word for anything inside a layer."""
    words = path.split(".")
    return f"layer {words[1]}" if words[0] == "layers" and len(words) == 2 else words[-1]


def _slice(name: str, track: int, begin_ns: int, end_ns: int, details: dict[str, Any]) -> Event:
    begin_us, took_us = begin_ns / 1e3, (end_ns - begin_ns) / 1e3
    return {"name": name, "ph": "X", "pid": PROCESS, "tid": track, "ts": begin_us, "dur": took_us, "args": details}
