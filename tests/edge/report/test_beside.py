"""What a page shows next to a trace: the numbers of a profile and of a comparison, and files that are neither."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.cli import exit_code
from edge.compare.result import to_json
from edge.profile.record import profile_record
from edge.report.comparison_section import comparison_section
from edge.report.read import read_comparison, read_profile
from edge.report.time_section import time_section
from models.errors import EdgeError
from tests.edge.report.example_traces import made_comparison, made_profile, made_trace


def shown(markup: str) -> str:
    """The text of some markup without that of its pictures, a space for each element's border."""
    without = re.sub(r"<svg.*?</svg>", " ", markup)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", without))


def test_a_profile_s_page_prints_total_coverage_and_unattributed_time() -> None:
    text = shown(time_section(made_profile(("onnx",)), "fake").markup)
    # a decode step: embed, head, other and three layers of 36 µs, with 7 ns more a part in each next layer
    inside = 31_500 + 3 * 36_000 + 8 * 7 * (0 + 1 + 2)
    total = inside / 0.9
    assert f"onnx · 2 threads {total / 1e6:.3f}" in text, "the whole pass's median is not printed"
    assert "90.0%" in text, "the coverage is not printed"
    assert f"unattributed – {(total - inside) / 1e6:.3f} 10.0%" in text, "no unattributed time with its share"
    assert "share of the pass" in text and "with timers :" not in text, "it is not said what shares are of"
    assert f"head {0.03:.3f} {0.03:.3f} {30_000 / total:.1%}" in text


def test_prefill_stands_before_decode_and_each_engine_beside_the_others() -> None:
    text = shown(time_section(made_profile(("onnx", "torch")), "fake").markup)
    places = [
        text.index(words) for words in ("Prefill of 16 tokens, 0 cached tokens", "A decode step, 0 cached tokens")
    ]
    assert places == sorted(places)
    for engine in ("onnx", "torch"):
        assert text.count(f"{engine} · 2 threads") == 8, f"{engine} is missing from a kind of pass"


def test_bars_are_as_long_as_their_times() -> None:
    markup = time_section(made_profile(("onnx", "torch")), "fake").markup
    first = re.search(r'<svg class="bar".*?</svg>|<svg [^>]*class="bar".*?</svg>', markup)
    assert first, "no bar"
    widths = [float(width) for width in re.findall(r'<rect[^>]* width="([\d.]+)"', first.group())]
    assert sum(widths) == pytest.approx(500, abs=1), "torch takes twice as long as onnx, and has a full bar"


def test_end_to_end_numbers_are_those_of_the_raw_samples() -> None:
    text = shown(time_section(made_profile(("onnx",)), "fake").markup)
    # intervals of 1, 2 and 3 ms, twice: the median, two percentiles, 6 in 12 ms; and 0.6 J for four tokens
    assert "onnx 2 0 16 5.00 2.00 3.00 3.00 500 0% 0.150 9.00 MB 1.00 MB" in text


def test_another_model_s_numbers_are_called_so() -> None:
    assert (
        "This profile is of other; the trace on this page is of fake"
        in time_section(made_profile(model="other"), "fake").markup
    )
    assert (
        "This comparison is of other; the trace on this page is of fake"
        in comparison_section(made_comparison(model="other"), "fake").markup
    )
    assert "This profile is" not in time_section(made_profile(), "fake").markup


def test_parity_shows_every_site_of_every_engine_and_where_a_difference_begins() -> None:
    comparison = made_comparison()
    markup = comparison_section(comparison, "fake").markup
    text = shown(markup)
    assert "onnx tolerance 5.0e-5 onnx:int4 tolerance 5.0e-5" in text
    assert text.count("2.0e-7 ●") == 11 and "2.0e-2 ○ ◀" in text and text.count("◀") == 2, "the mark and its legend"
    assert re.search(r"layers\.1\.ffn\.neurons 2\.0e-7 ● 2\.0e-2 ○ ◀", text)
    order = [text.rindex(f" {site} ") for site in comparison.variants[0].sites]
    assert order == sorted(order), "sites are not in the order in which they are computed"


def test_parity_prints_the_sums_with_their_meaning() -> None:
    text = shown(comparison_section(made_comparison(), "fake").markup)
    for words in (
        "max |Δlogit| 1.0e-6",
        "KL divergence, nats: mean 1.0e-12",
        "max nan",
        "top-1 agreement 99.0%",
        "different top-1 token / near ties 1 / 1",
        "minus the reference&#x27;s +0.500 ± 0.250",
        "first site over tolerance none layers.1.ffn.neurons",
        "#3: &#x27; queen&#x27; instead of &#x27; king&#x27;",
        "0.05, a near tie",
        "decode, ms per token: p50 / p90 2.00 / 2.80",
        "process peak not reported",
    ):
        assert words in text, f"the page does not say '{words}'"


def test_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    profile, comparison = tmp_path / "profile.json", tmp_path / "compare.json"
    profile.write_text(json.dumps(profile_record(made_profile())), encoding="utf8")
    comparison.write_text(json.dumps(to_json(made_comparison())), encoding="utf8")
    assert read_profile(profile) == made_profile()
    assert to_json(read_comparison(comparison)) == to_json(made_comparison())


def broken_records() -> dict[str, tuple[str, Any]]:
    """Files that are no comparison, or have lost or changed something."""
    whole = to_json(made_comparison())
    variant = whole["variants"][0]
    return {
        "a list": ("compare", [1, 2]),
        "a word": ("compare", "profile"),
        "a profile": ("compare", profile_record(made_profile())),
        "of another format": ("compare", whole | {"format": 99}),
        "without variants": ("compare", {key: value for key, value in whole.items() if key != "variants"}),
        "with words for numbers": ("compare", whole | {"variants": [variant | {"sites": {"layers.0.input": "<b>"}}]}),
        "with a list for a table": ("compare", whole | {"variants": [variant | {"predictions": []}]}),
        "with a number for a name": ("compare", whole | {"reference": whole["reference"] | {"name": 3}}),
        "a comparison": ("profile", whole),
        "of times that are words": ("profile", profile_record(made_profile()) | {"profile": {"variants": "none"}}),
    }


@pytest.mark.parametrize("kind", broken_records())
def test_a_file_that_is_neither_is_one_clear_error(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    option, record = broken_records()[kind]
    file, trace = tmp_path / "record.json", made_trace().save(tmp_path / "run.trace")
    file.write_text(json.dumps(record), encoding="utf8")
    code = exit_code(["report", str(trace), "-o", str(tmp_path / "x.html"), f"--{option}", str(file)])
    said = capfd.readouterr().err
    assert code == 1 and re.search(
        rf"edge: {re.escape(str(file))} is not a (profile|comparison) that this Edge reads", said
    )
    assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000], ids=["empty", "cut", "no text", "deep"])
def test_what_is_no_json_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    file.write_bytes(content)
    with pytest.raises(EdgeError, match="is not a profile"):
        read_profile(file)
    with pytest.raises(EdgeError, match="is not a comparison"):
        read_comparison(file)


def test_a_comparison_without_rounds_cannot_be_drawn(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    comparison = made_comparison()
    emptied = replace(comparison.reference, speed=replace(comparison.reference.speed, rounds=()))
    file, trace = tmp_path / "compare.json", made_trace().save(tmp_path / "run.trace")
    record = to_json(comparison)
    record["reference"]["speed"]["rounds"] = []
    file.write_text(json.dumps(record), encoding="utf8")
    assert emptied.speed.rounds == ()
    assert exit_code(["report", str(trace), "-o", str(tmp_path / "x.html"), "--compare", str(file)]) == 1
    assert f"{file} cannot be drawn" in capfd.readouterr().err
