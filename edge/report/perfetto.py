"""A profile as a timeline that ui.perfetto.dev and Chrome open: one track an engine, parts nested in their pass.

The format is Chrome's trace events in JSON: complete events (`ph` "X") with `ts` and `dur` in microseconds, and
metadata events (`ph` "M") that name the process and its tracks.
"""

from collections.abc import Iterator
from typing import Any

from edge.picture.coverage import share_title
from edge.profile.record import Profile
from edge.report.pass_kinds import PartTimes, PassKind, pass_kinds, variant_title

Event = dict[str, Any]

PROCESS = 1

_PAUSE_NS = 100_000
"""Between two kinds of pass; each kind begins at one time on every track, so that engines line up."""


def perfetto_events(profile: Profile) -> list[Event]:
    """The events of a profile, for `{"traceEvents": [...]}`.

    A pass is as long as the median of the passes without instruments; its parts follow each other in the order in
    which they are computed, scaled down where they sum to more, and what they leave of it is the gap. Times within a
    sublayer are shares, no sequence that a clock saw.
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
    """The pass, and in it layers, in them sublayers, in them parts. Ends are whole nanoseconds, so slices nest."""
    account, scaled_ns, total_ns = engine.sublayers, engine.breakdown.scaled_ns, round(engine.total_ns)
    parts = list(scaled_ns)
    said = {
        "what": f"median of {len(engine.times.whole_ns)} passes without instruments",
        "parts": f"median of {len(engine.times.parts_ns)} instrumented passes each, {engine.variant.method}",
        "coverage of parts as measured": round(account.coverage, 4),
        "gap_us": "not known" if account.gap_ns is None else account.gap_ns / 1e3,
    }
    yield _slice(kind.title, track, start_ns, start_ns + total_ns, said)
    end_of, end_ns = {}, 0.0
    for part in parts:
        end_ns += scaled_ns[part]
        end_of[part] = start_ns + min(round(end_ns), total_ns)
    begin_of = dict(zip(parts, [start_ns, *end_of.values()], strict=False))
    for path, inside in _nested(parts):
        share = sum(scaled_ns[part] for part in inside) / engine.total_ns
        measured_us = sum(engine.breakdown.measured_ns[part] for part in inside) / 1e3
        told = {f"share {share_title(account)}": round(share, 4), "measured_us": round(measured_us, 3)}
        yield _slice(_short(path), track, begin_of[inside[0]], end_of[inside[-1]], told)


def _nested(parts: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Each layer, each sublayer and each part, outer before inner, with the parts that are in it."""
    paths = dict.fromkeys(".".join(part.split(".")[:words]) for words in (2, 3, 4) for part in parts)
    for path in paths:
        yield path, [part for part in parts if part == path or part.startswith(f"{path}.")]


def _short(path: str) -> str:
    """`layers.3` is `layer 3`; within it, the last word suffices."""
    words = path.split(".")
    return f"layer {words[1]}" if words[0] == "layers" and len(words) == 2 else words[-1]


def _slice(name: str, track: int, begin_ns: int, end_ns: int, said: dict[str, Any]) -> Event:
    took_us = (end_ns - begin_ns) / 1e3
    return {"name": name, "ph": "X", "pid": PROCESS, "tid": track, "ts": begin_ns / 1e3, "dur": took_us, "args": said}
