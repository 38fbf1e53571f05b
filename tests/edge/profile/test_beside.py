"""A runtime that is timed only from outside: end to end and in memory as all, blank inside."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from edge.commands.profile_tables import profile_csv, profile_markdown, profile_summary, profile_text
from edge.profile.record import Profile, VariantProfile, open_profile, profile_record
from edge.profile.summary import depth_summaries
from edge.report.pass_kinds import pass_kinds
from edge.report.perfetto import timeline
from edge.report.time_section import time_section
from tests.edge.profile.example_profiles import profile, variant
from tui.cost_table import as_table
from tui.engine_costs import Costs, cost_rows

LLAMA_CPP = "llama.cpp"


def beside() -> VariantProfile:
    """An engine's numbers, without what needs timers inside."""
    engine = variant(LLAMA_CPP)
    return replace(engine, depths=tuple(replace(at, passes=()) for at in engine.depths))


@pytest.fixture(scope="module")
def found() -> Profile:
    return profile(variant("onnx"), beside())


@pytest.fixture(scope="module")
def alone() -> Profile:
    return profile(beside())


def test_its_times_from_outside_are_those_of_an_engine_with_the_same_rounds(found: Profile) -> None:
    engine, own = profile_summary(found)["end_to_end"]
    blank = {"engine", "bandwidth_ratio"}
    assert own["engine"] == LLAMA_CPP and own["bandwidth_ratio"] is None and engine["bandwidth_ratio"] is not None
    assert {key: value for key, value in own.items() if key not in blank} == {
        key: value for key, value in engine.items() if key not in blank
    }
    memory = profile_summary(found)["memory"]
    assert memory[1]["process_peak_mb"] == memory[0]["process_peak_mb"] == 100


def test_inside_it_is_blank(found: Profile, alone: Profile) -> None:
    for one in (profile_text(found, None, by_layer=True), profile_markdown(found, found)):
        assert "Inside onnx" in one and f"Inside {LLAMA_CPP}" not in one
    assert {row["engine"] for row in csv.DictReader(io.StringIO(profile_csv(found)))} == {"onnx"}
    assert "Inside" not in profile_text(alone, alone, by_layer=False) and "\n" not in profile_csv(alone)
    assert all(one.decode is None and one.decode_bytes is None for one in depth_summaries(alone))


def test_the_page_and_the_timeline_draw_it(found: Profile, alone: Profile) -> None:
    text = re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", time_section(found, "by hand").markup))
    assert "llama.cpp 2 0 8 10.0 1.50" in text and f"{LLAMA_CPP} · 2 threads" not in text
    assert LLAMA_CPP in time_section(alone, "by hand").markup
    names = [event["name"] for event in timeline(alone)["traceEvents"]]
    assert set(names) == {"process_name", "thread_name", "thread_sort_index"}


def test_the_view_of_time_draws_the_engines(found: Profile, alone: Profile) -> None:
    for kind in pass_kinds(found):
        costs = Costs(found, kind)
        assert costs.engines == ("onnx",) and as_table(costs.engines, cost_rows(costs)).rows
    assert not pass_kinds(alone)


def test_it_survives_its_file(found: Profile, tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(profile_record(found)), encoding="utf8")
    assert open_profile(file) == found
