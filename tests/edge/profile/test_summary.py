"""What a profile is summed up to follows from its samples; the file holds all of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.profile.breakdown import PartBreakdown, one_by_one, over_layers, part_rows
from edge.profile.changes import changes, interval
from edge.profile.record import open_profile, profile_record
from edge.profile.summary import depth_summaries, quantile
from edge.timing import by_sublayer
from models.errors import EdgeError
from tests.edge.profile.example_profiles import PARTS, SUBLAYERS, passes, profile, variant, with_joules


def test_law_7_parts_and_gap_sum_to_the_total() -> None:
    for whole_ns, slow in ((1_300.0, 1.0), (1_300.0, 3.0), (900.0, 1.0)):
        breakdown = PartBreakdown(passes(1, whole_ns, slow))
        parts, gap_ns = sum(breakdown.scaled_ns.values()), breakdown.sublayers.gap_ns
        assert parts + (gap_ns or 0.0) == pytest.approx(breakdown.total_ns), f"at {slow} times the instruments' pace"


def test_a_part_has_its_share_of_what_the_clock_around_its_sublayer_says() -> None:
    breakdown = PartBreakdown(passes())
    for sublayer, took in by_sublayer(breakdown.measured_ns).items():
        assert took == pytest.approx(SUBLAYERS[sublayer]), f"parts of {sublayer} do not sum to it"
    ratio = breakdown.measured_ns["layers.0.attn.qkv"] / breakdown.measured_ns["layers.0.attn.core"]
    assert ratio == pytest.approx(2.0), "shares within a sublayer are not those of the finer clocks"


def test_parts_stand_in_the_order_in_which_they_are_computed() -> None:
    breakdown = PartBreakdown(passes())
    assert list(breakdown.parts) == [*(part for part in PARTS if part not in ("other", "head")), "head", "other"]
    assert breakdown.fused == ("ffn.act",), "an activation without time of its own is not told"


def test_sums_over_layers_hold_all_time_and_work() -> None:
    found = profile()
    breakdown = PartBreakdown(passes())
    fine, coarse = (part_rows(found, breakdown, groups(breakdown)) for groups in (one_by_one, over_layers))
    assert {row.part for row in coarse} == {"embed", "attn.qkv", "attn.core", "ffn.up", "ffn.down", "head", "other"}
    for number in ("measured_ns", "scaled_ns", "share", "touched_bytes", "flops"):
        sums = [sum(getattr(row, number) for row in rows) for rows in (fine, coarse)]
        assert sums[0] == pytest.approx(sums[1]), f"{number} is lost over layers"


def test_rates_are_held_against_the_best_sweep() -> None:
    row = part_rows(profile(), PartBreakdown(passes()), {"head": ["head"]})[0]
    assert row.bytes_per_s == pytest.approx(row.touched_bytes / (row.measured_ns / 1e9))
    assert row.bandwidth_ratio == pytest.approx(row.bytes_per_s / 2e9)
    assert row.flops_ratio == pytest.approx(row.flops_per_s / 1e10)


def test_tokens_per_second_come_from_every_interval() -> None:
    summary = next(iter(depth_summaries(profile(with_joules(variant(), 8.0)))))
    assert summary.intervals_ms == [1.0, 1.5, 2.0] * 5
    assert summary.decode_tokens_per_s == pytest.approx(1e3 / 1.5), "the rate is not (n - 1) / (t_last - t_first)"
    assert summary.prefill_tokens_per_s == pytest.approx(800.0) and (summary.ttft_ms, summary.tokenize_ms) == (9.0, 0.5)
    assert summary.spread == 0.0 and summary.joules_per_token == 2.0


def test_percentiles_are_numpys_on_the_samples_of_the_file() -> None:
    found = profile(variant(wobble=0.1))
    record = json.loads(json.dumps(profile_record(found)))
    rounds = record["profile"]["variants"][0]["depths"][0]["rounds"]
    samples = [wait for one in rounds for wait in one["inter_token_ms"]]
    summary = next(iter(depth_summaries(found)))
    for q in (0.5, 0.9, 0.99):
        assert quantile(summary.intervals_ms, q) == pytest.approx(float(np.quantile(samples, q)))


def test_a_profile_comes_back_from_its_file(tmp_path: Path) -> None:
    found = profile(variant("onnx"), with_joules(variant("mlx:int4", wobble=0.3), 1.0))
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(profile_record(found)))
    assert open_profile(file) == found


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"kind": "profile", "format": 99}', '{"kind": "profile", "format": 1}', "\x00\xff"],
)
def test_a_file_that_is_no_profile_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.json"
    file.write_bytes(text.encode("latin1"))
    with pytest.raises(EdgeError, match=r"other\.json is not a profile"):
        open_profile(file)


def test_a_profile_that_lacks_something_says_what(tmp_path: Path) -> None:
    record = json.loads(json.dumps(profile_record(profile())))
    del record["profile"]["variants"][0]["memory"]["kv_bytes"]
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(record))
    with pytest.raises(EdgeError, match=r"variants\[0\].memory has no 'kv_bytes'"):
        open_profile(file)


def test_a_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match="there is no profile at"):
        open_profile(tmp_path / "nothing.json")


def test_twice_the_time_is_a_change_and_the_same_is_none() -> None:
    then, same = profile(variant(wobble=0.02)), profile(variant(wobble=0.02))
    assert not any(change.is_significant for change in changes(then, same)), "equal profiles are said to differ"
    slower = list(changes(then, profile(variant(slow=2.0, wobble=0.02))))
    assert {change.what for change in slower} == {"decode", "prefill"}
    for change in slower:
        assert change.is_significant and change.ratio == pytest.approx(2.0), (
            f"{change.what} doubled, and noise is said of it"
        )


def test_what_only_one_profile_has_is_not_compared() -> None:
    assert not list(changes(profile(variant("onnx")), profile(variant("mlx"))))


@given(st.lists(st.floats(0.5, 2.0), min_size=2, max_size=8), st.floats(0.1, 10.0))
def test_the_interval_holds_the_ratio_of_scaled_samples(samples: list[float], factor: float) -> None:
    low, high = interval(samples, [factor * one for one in samples])
    assert low <= factor * (1 + 1e-9) and high >= factor * (1 - 1e-9), f"{factor} is outside {low} to {high}"
