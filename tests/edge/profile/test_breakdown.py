"""A pass and its parts, for any timing: law 7, and what shares are shares of."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.commands.profile_tables import profile_summary, profile_text
from edge.commands.sublayer_table import sublayer_record, sublayer_sum, sublayer_table
from edge.dataclass_json import to_json_value
from edge.picture.coverage import ABOVE_BENCHMARK, coverage_note, coverage_text, difference_text
from edge.profile.breakdown import PartBreakdown, one_by_one, over_layers, part_rows
from edge.profile.machine import Roofline
from edge.profile.record import DepthProfile, PassProfile, Profile, open_profile, profile_record
from edge.report.pass_kinds import pass_kinds
from edge.report.time_section import time_section
from edge.timing import (
    SLOWED,
    Basis,
    Differenced,
    PassTimes,
    SublayerTiming,
    TimeBreakdown,
    TimesByScope,
    Without,
    sums_of,
)
from tests.edge.profile.example_profiles import PARTS, SUBLAYERS, WORK, profile, variant
from tui.cost_table import Cost, Heading
from tui.engine_costs import Costs, cost_rows, part_costs, timing_rows

TIMES = st.just(0.0) | st.floats(1e-3, 1e9)
LONG = st.floats(1.0, 1e9)


def took(like: TimesByScope) -> st.SearchStrategy[TimesByScope]:
    """Nanoseconds of every scope of some other pass; the head always takes some."""
    times = st.lists(TIMES, min_size=len(like), max_size=len(like))
    return times.map(lambda drawn: dict(zip(like, drawn, strict=True)) | {"head": drawn[-1] + 1.0})


def accounts() -> st.SearchStrategy[TimeBreakdown]:
    return st.builds(lambda total, parts: TimeBreakdown(total_ns=total, measured_ns=parts), LONG, took(SUBLAYERS))


WHOLE, COARSE, FINE = (st.lists(one, min_size=1, max_size=3) for one in (LONG, took(SUBLAYERS), took(PARTS)))


def profile_of(whole: list[float], coarse: list[TimesByScope], fine: list[TimesByScope]) -> Profile:
    """A profile whose only pass took these times."""
    times = PassTimes(tokens=1, depth=0, whole_ns=tuple(whole), sublayers_ns=tuple(coarse), parts_ns=tuple(fine))
    one = variant()
    passes = (PassProfile(times=times, work=WORK),)
    at = one.depths[0]
    return profile(replace(one, depths=(DepthProfile(workload=at.workload, rounds=at.rounds, passes=passes),)))


def slowed() -> TimeBreakdown:
    """Timers that sum to one and a half times the pass."""
    return TimeBreakdown(total_ns=sum(SUBLAYERS.values()) / 1.5, measured_ns=SUBLAYERS)


@given(accounts())
def test_law_7_shares_and_gap_sum_to_one_and_no_share_exceeds_it(account: TimeBreakdown) -> None:
    assert sum(account.shares.values()) + (account.gap_share or 0.0) == pytest.approx(1.0)
    assert all(-1e-12 <= share <= 1 + 1e-12 for share in account.shares.values()), account.shares
    assert sum(account.sums_ns.values()) == pytest.approx(account.total_ns), "the sums do not add up to the total"


@given(accounts())
def test_unattributed_time_is_known_exactly_where_the_parts_do_not_sum_to_more_than_the_pass(
    account: TimeBreakdown,
) -> None:
    assert (account.gap_ns is None) == (account.coverage > 1.0)
    assert ("unattributed time unknown" in coverage_text(account)) == (account.gap_ns is None)


@given(accounts())
def test_shares_are_named_as_of_the_pass_with_clocks_where_those_slowed_it(account: TimeBreakdown) -> None:
    assert (account.basis is Basis.CLOCKED) == (account.coverage > SLOWED)
    assert ("slowed" in coverage_text(account)) == (account.basis is Basis.CLOCKED)
    assert ("scaled" in coverage_note(account)) == (account.gap_share is None)
    of_clocks = {scope: part / account.sum_ns for scope, part in account.measured_ns.items()}
    if account.basis is Basis.CLOCKED:
        assert account.shares == pytest.approx(of_clocks), "shares are not those of the pass with timers"


@given(accounts())
def test_measured_times_are_left_as_they_are(account: TimeBreakdown) -> None:
    assert sum(account.measured_sums_ns.values()) == pytest.approx(account.sum_ns)
    if account.coverage <= 1.0:
        assert account.scaled_ns == account.measured_ns, "parts that fit the pass were scaled"


@settings(max_examples=25)
@given(WHOLE, COARSE, FINE)
def test_every_table_of_parts_sums_to_the_pass(
    whole: list[float], coarse: list[TimesByScope], fine: list[TimesByScope]
) -> None:
    found = profile_of(whole, coarse, fine)
    breakdown = PartBreakdown(found.variants[0].depths[0].passes[0])
    account = breakdown.sublayers
    for groups in (one_by_one(breakdown), over_layers(breakdown)):
        rows = part_rows(found, breakdown, groups)
        assert sum(row.measured_ns for row in rows) == pytest.approx(account.sum_ns), "time of a part is lost"
        assert sum(row.share for row in rows) + (account.gap_share or 0.0) == pytest.approx(1.0), "law 7 over parts"
        assert all(row.share <= 1 + 1e-9 for row in rows), "a part has more than the whole"


@settings(max_examples=12)
@given(WHOLE, COARSE, FINE)
def test_the_screen_the_command_and_the_page_give_one_share_and_say_of_what(
    whole: list[float], coarse: list[TimesByScope], fine: list[TimesByScope]
) -> None:
    found = profile_of(whole, coarse, fine)
    (kind,) = pass_kinds(found)
    account, costs = kind.engines[0].sublayers, Costs(found, kind)
    summary = profile_summary(found)["parts"]
    assert {row["share_of"] for row in summary} == {account.basis.value}
    shown = [row for row in cost_rows(costs) if isinstance(row, Cost) and row.unit == "ms" and row.shares]
    assert sum(row.shares[0] or 0.0 for row in shown) == pytest.approx(1.0)
    of_ffn = sum(share for part, share in account.shares.items() if part.endswith(".ffn"))
    reported = sum(float(row["share"] or 0.0) for row in summary if ".ffn" in str(row["part"]))
    on_screen = next(row for row in shown if row.title.startswith("FFN"))
    assert reported == pytest.approx(of_ffn, abs=1e-9) and on_screen.shares[0] == pytest.approx(of_ffn, abs=1e-9)
    says_clocked = [
        "shares are of the pass with timers" in profile_text(found, None, by_layer=False),
        "share of the pass with timers" in time_section(found, "by hand").markup,
        any("of the pass with timers" in row.title for row in cost_rows(costs) if isinstance(row, Heading)),
        any("of the pass with timers" in row.title for row in part_costs(costs, 0) if isinstance(row, Heading)),
    ]
    assert says_clocked == [account.basis is Basis.CLOCKED] * 4


def test_a_timed_run_keeps_measured_and_scaled_times_separate() -> None:
    account = slowed()
    timing = SublayerTiming(
        engine="onnx",
        tokens=1,
        depth=3,
        repeats=2,
        threads=2,
        method="by hand",
        total_ns=account.total_ns,
        measured_ns=account.measured_ns,
    )
    row = sublayer_table(timing).records()[0]
    assert (row["attn_measured_ms"], row["attn_scaled_ms"]) == pytest.approx((120e-6, 80e-6))
    record = sublayer_record(timing)
    assert record["gap_ms"] is None and record["shares_of"] == "the pass with timers"
    assert (
        "150%: Σ of timed parts / uninstrumented pass; timers slowed the pass; unattributed time unknown"
        in sublayer_sum(timing)
    )
    assert "share of the pass with timers" in sublayer_table(timing).text()
    titles = [one.title for one in timing_rows([timing], ["onnx"]) if isinstance(one, Cost)]
    assert {"attention", "attention, measured"} <= set(titles), f"one of the two is missing in {titles}"


def test_what_exceeds_the_sweep_is_no_percentage_and_is_explained() -> None:
    fast = {part: replace(work, touched_bytes=1e6, flops=1e6) for part, work in WORK.items()}
    found = profile()
    one = found.variants[0]
    passes = tuple(replace(each, work=fast) for each in one.depths[0].passes)
    found = replace(found, variants=(replace(one, depths=(replace(one.depths[0], passes=passes),)),))
    reported = profile_text(found, None, by_layer=False)
    assert ">100%" in reported and ABOVE_BENCHMARK in reported, "a rate beyond the sweep's is not explained"
    slow = replace(profile(), rooflines=(Roofline(2, 1e18, 1e18),))
    assert ABOVE_BENCHMARK not in profile_text(slow, None, by_layer=False), "what did not happen is explained"
    decode = next(kind for kind in pass_kinds(found) if kind.tokens == 1)
    beside = [
        row.show_share_of(0) for row in cost_rows(Costs(found, decode)) if isinstance(row, Cost) and row.of_benchmark
    ]
    assert beside and set(beside) == {">100%"}, f"the screen says {beside}"


def test_sums_over_layers_keep_what_is_outside_them() -> None:
    assert sums_of(SUBLAYERS) == {"attn": 270.0, "ffn": 610.0, "embed": 8.0, "head": 280.0, "other": 12.0}


def test_differences_say_whether_they_add_up() -> None:
    pairs = {"attn": (Without(10.0, 7.0),), "ffn": (Without(10.0, 4.0),), "layers": (Without(10.0, 1.0),)}
    found = Differenced.of(pairs)
    assert found is not None and (found.attn_ns, found.ffn_ns, found.rest_ns) == (3.0, 6.0, 1.0)
    assert found.coverage == pytest.approx(1.0) and "do not add up" not in difference_text(found)
    cached = Differenced.of(pairs | {"ffn": (Without(10.0, 2.0),)})
    assert (
        cached is not None
        and "sum 120% of the 10.0 ns of whole passes timed with them, so they do not add up" in difference_text(cached)
    )
    assert Differenced.of({}) is None, "an engine that cannot leave sublayers out has differences"


def test_both_methods_stand_beside_each_other_and_come_back_from_the_file(tmp_path: Path) -> None:
    pairs = {"attn": (Without(10.0, 7.0),), "ffn": (Without(10.0, 4.0),), "layers": (Without(10.0, 1.0),)}
    found = profile_of([5_000.0], [SUBLAYERS], [PARTS])
    plain = json.loads(json.dumps(profile_record(found)))
    times = plain["profile"]["variants"][0]["depths"][0]["passes"][0]["times"]
    del times["without"], plain["profile"]["variants"][0]["memory"]["weights_memory_bytes"]
    file = tmp_path / "older.json"
    file.write_text(json.dumps(plain))
    assert open_profile(file) == found, "a profile of an older version does not open"
    times["without"] = to_json_value(pairs)
    file.write_text(json.dumps(plain))
    both = open_profile(file)
    reported = profile_text(both, None, by_layer=False)
    assert (
        "Σ of timed parts / uninstrumented pass" in reported
        and "by differencing, a pass minus a pass without attention or FFNs: attention" in reported
        and "sum 100% of the" in reported
    )
    (row,) = profile_summary(both)["differencing"]
    assert (row["coverage"], row["attn_ms"]) == pytest.approx((1.0, 3e-6))
    (kind,) = pass_kinds(both)
    rows = {one.title: one.values[0] for one in cost_rows(Costs(both, kind)) if isinstance(one, Cost)}
    assert rows["sum / whole pass"] == pytest.approx(1.0) and rows["coverage"] is not None
    assert "sum 100% of the" in time_section(both, "by hand").markup
