"""A timeline keeps to the rules of Chrome's trace events, and to the profile's numbers."""

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cli import exit_code
from edge.profile.record import Profile, profile_record
from edge.report.pass_kinds import pass_kinds
from edge.report.perfetto import perfetto_events
from tests.edge.report.example_traces import HOSTILE, made_profile

Event = dict[str, Any]


def slices(events: list[Event]) -> dict[int, list[tuple[int, int, str]]]:
    """Begin, end and name of every slice by track, in nanoseconds, outer before inner."""
    found: dict[int, list[tuple[int, int, str]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            begin, took = round(event["ts"] * 1e3), round(event["dur"] * 1e3)
            found[event["tid"]].append((begin, begin + took, event["name"]))
    return {track: sorted(own, key=lambda one: (one[0], -one[1])) for track, own in found.items()}


def check_nesting(track: int, own: list[tuple[int, int, str]]) -> None:
    """Slices of one track lie inside each other or apart: what overlaps is drawn wrong."""
    above: list[tuple[int, int, str]] = []
    for begin, end, name in own:
        while above and above[-1][1] <= begin:
            above.pop()
        if above:
            assert end <= above[-1][1], f"on track {track}, {name} ends after {above[-1][2]}, in which it began"
        above.append((begin, end, name))


def test_every_event_has_the_keys_that_readers_need() -> None:
    for event in perfetto_events(made_profile()):
        assert {"name", "ph", "pid", "tid"} <= event.keys(), f"{event} lacks a key"
        assert event["ph"] in ("X", "M"), f"{event} is neither a complete event nor metadata"
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name", "thread_sort_index") and event["args"]
        else:
            assert event["ts"] >= 0 and event["dur"] >= 0, f"{event} is before time, or took less than none"
            assert isinstance(event["name"], str) and event["name"]


def test_every_engine_has_a_track_of_its_own_with_its_name() -> None:
    events = perfetto_events(made_profile(("onnx", "torch", "mlx")))
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert sorted(names.values()) == ["mlx · 2 threads", "onnx · 2 threads", "torch · 2 threads"]
    assert set(slices(events)) == set(names), "a track without a name, or a name without a track"
    assert [event["args"]["name"] for event in events if event["name"] == "process_name"] == ["edge profile: fake"]


def test_slices_nest_and_passes_follow_each_other() -> None:
    for track, own in slices(perfetto_events(made_profile())).items():
        check_nesting(track, own)
        names = [name for _, _, name in own]
        for part in ("embed", "layer 2", "attn", "ffn", "norm", "qkv", "core", "out", "up", "act", "down", "head"):
            assert part in names, f"track {track} has no slice '{part}'"
        passes = [name for name in names if "cached tokens" in name]
        assert passes == [
            "prefill of 16 tokens, 0 cached tokens",
            "prefill of 16 tokens, 32 cached tokens",
            "a decode step, 0 cached tokens",
            "a decode step, 32 cached tokens",
        ]


@settings(max_examples=40)
@given(took=st.lists(st.just(0.0) | st.floats(1, 1e7), min_size=11, max_size=11), clock=st.floats(0.2, 3.0))
def test_slices_nest_whatever_the_times(took: list[float], clock: float) -> None:
    """Rounding never lets a part end after its pass, also where timing slowed the pass down."""
    profile = made_profile(("onnx",), n_layers=1)
    variant = profile.variants[0]
    depth = variant.depths[0]
    times = depth.passes[0].times
    parts = dict(zip(times.parts_ns[0], took, strict=True))
    sublayers = {name: 1.0 + clock * sum(took) / 5 for name in times.sublayers_ns[0]}
    one = replace(times, parts_ns=(parts,), sublayers_ns=(sublayers,), whole_ns=(1.0 + sum(took),))
    passes = (replace(depth.passes[0], times=one),)
    changed = replace(profile, variants=(replace(variant, depths=(replace(depth, passes=passes),)),))
    for track, own in slices(perfetto_events(changed)).items():
        check_nesting(track, own)
        assert max(end for _, end, _ in own) == round(1.0 + sum(took)), "the track is not as long as its pass"


def test_kinds_of_passes_begin_together_on_all_tracks() -> None:
    begins: dict[str, set[int]] = defaultdict(set)
    for own in slices(perfetto_events(made_profile(("onnx", "torch", "mlx")))).values():
        for begin, _, name in own:
            if "cached tokens" in name:
                begins[name].add(begin)
    assert all(len(found) == 1 for found in begins.values()), f"engines do not line up: {dict(begins)}"


def test_a_slice_is_as_long_as_the_profile_says() -> None:
    profile = made_profile(("onnx",))
    (kind,) = [kind for kind in pass_kinds(profile) if kind.tokens == 1 and kind.depth == 0]
    engine = kind.engines[0]
    events = [event for event in perfetto_events(profile) if event["ph"] == "X"]
    start = next(place for place, event in enumerate(events) if event["name"] == "a decode step, 0 cached tokens")
    assert events[start]["dur"] == pytest.approx(engine.total_ns / 1e3, abs=1e-3)
    assert events[start]["args"]["coverage of parts as measured"] == pytest.approx(0.9, abs=1e-3)
    head = next(event for event in events[start:] if event["name"] == "head")
    assert head["dur"] == pytest.approx(engine.breakdown.scaled_ns["head"] / 1e3, abs=2e-3)
    inside = sum(engine.breakdown.scaled_ns.values())
    gap_ns = engine.sublayers.gap_ns
    assert gap_ns is not None and inside == pytest.approx(engine.total_ns - gap_ns), "parts and gap are not the total"


def test_a_sublayer_is_divided_as_its_parts_are() -> None:
    """Timers at every part slow a pass down by half here; the sublayer's own time is what is divided."""
    engine = pass_kinds(made_profile(("onnx",)))[0].engines[0]
    parts = {part: ns for part, ns in engine.breakdown.measured_ns.items() if part.startswith("layers.1.attn.")}
    assert sum(parts.values()) == pytest.approx(engine.times.sublayers_ns[0]["layers.1.attn"])
    shares = [ns / sum(parts.values()) for ns in parts.values()]
    want = [1_007, 2_007, 3_007, 4_007]
    assert shares == pytest.approx([one / sum(want) for one in want])


def written(profile: Profile, path: Path) -> Path:
    path.write_text(json.dumps(profile_record(profile)), encoding="utf8")
    return path


def test_the_command_writes_the_timeline(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file, out = written(made_profile(HOSTILE[:2]), tmp_path / "profile.json"), tmp_path / "timeline.json"
    assert exit_code(["report", str(file), "--perfetto", "-o", str(out)]) == 0
    assert "ui.perfetto.dev" in capfd.readouterr().err
    record = json.loads(out.read_text(encoding="ascii"))
    assert set(record) == {"traceEvents", "displayTimeUnit"} and record["displayTimeUnit"] == "ns"
    assert record["traceEvents"] == perfetto_events(made_profile(HOSTILE[:2]))


def test_a_profile_without_times_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    profile = made_profile(("onnx",))
    variant = profile.variants[0]
    for whole in ((), (0.0,), (float("nan"),), (-1.0,)):
        times = replace(variant.depths[0].passes[0].times, whole_ns=whole)
        depth = replace(variant.depths[0], passes=(replace(variant.depths[0].passes[0], times=times),))
        broken = replace(profile, variants=(replace(variant, depths=(depth,)),))
        file = written(broken, tmp_path / "profile.json")
        assert exit_code(["report", str(file), "--perfetto", "-o", str(tmp_path / "t.json")]) == 1
        said = capfd.readouterr().err
        assert f"{file} cannot be drawn" in said and "have no valid times" in said, said
        assert not (tmp_path / "t.json").exists()
