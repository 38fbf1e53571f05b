"""Laws of the lab on a page: every number with its unit and baseline, pictures that are text, and no trouble."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cli import exit_code
from edge.lab.claim import Curve, Finding, Grid, Number, Series, not_applicable
from edge.lab.contrast import measured_aspects
from edge.lab.record import to_json
from edge.lab.run import LabRecord
from edge.picture.palettes import CIVIDIS
from edge.picture.ticks import ticks
from edge.report.claims_section import claims_section
from edge.report.heatmaps import heatmap_figure
from edge.report.markup import hexadecimal
from edge.report.plots import curve_figure
from tests.edge.report.example_lab import NAN, made_effect, made_finding, made_lab
from tests.edge.report.example_traces import HOSTILE, made_trace, read_page
from tests.edge.report.test_beside import shown

few = settings(max_examples=40)
numbers = st.one_of(st.just(NAN), st.just(0.0), st.floats(-1e9, 1e9), st.floats(-1e-9, 1e-9))
SVG_ONLY = {"svg", "g", "path", "text", "title", "rect"}


def pictures(markup: str) -> list[ElementTree.Element]:
    """The plots of some markup, read as XML; legends and swatches left out."""
    found = [ElementTree.fromstring(one) for one in re.findall(r"<svg.*?</svg>", markup, re.S)]
    return [picture for picture in found if picture.get("role") == "img"]


def titles(picture: ElementTree.Element) -> list[str]:
    return [title.text or "" for title in picture.iter("title")]


def curve(*values: float, name: str = "a") -> Curve:
    return Curve("a curve", "layer", tuple(map(str, range(len(values)))), "bits", (Series(name, values),))


def grid(*rows: tuple[float, ...], unit: str = "bits") -> Grid:
    return Grid("a grid", "layer", "head", unit, rows)


def test_each_number_stands_beside_its_baseline_and_unit() -> None:
    text = shown(claims_section(made_lab(), "fake").markup)
    for words in (
        "kept 42.1% 100% share kept_share",
        "moved 0.426 0.125 bits shift_bits",
        "cost −0.500 0.000 nats cost_nats",
        "reach 35.5 63.6 tokens reach_tokens",
        "a pass 12.3 ms pass_ms",
        "held 1.50 GB 2.00 MB bytes held_bytes",
        "dimensions 193 148 count rank_count",
        "width – 1.00 ratio wide_ratio",
    ):
        assert words in text, f"the page does not say '{words}'"


def test_each_claim_says_what_was_asked_how_it_was_decided_and_what_it_cost() -> None:
    text = shown(claims_section(made_lab(), "fake").markup)
    for words in (
        "tested on fake with onnx (edge 0), on 2,048 tokens of the bundled text",
        "F1 claim F1: ● supported asks F1? the lead: 34.0% [20.0%, 48.0%] is above 10.0%. Found a thing.",
        "the lead 34.0% [20.0%, 48.0%] above 10.0% supported a tenth 12 facts lead_share",
        "method how F1: a formula rule rule F1 source source F1 cost 1,234 tokens besides the shared text; 2.50 s",
    ):
        assert words in text, f"the page does not say '{words}'"


def test_the_table_of_claims_counts_verdicts_and_says_them_in_words() -> None:
    findings = [
        made_finding(),
        Finding("It is not so.", (made_effect(0.01, 0.01),)),
        not_applicable("No ReLU here."),
        Finding("Who knows.", (made_effect(0.1),)),
    ]
    markup = claims_section(made_lab(findings=findings), "fake").markup
    text = shown(markup)
    assert "supported: 1; not supported: 1; inconclusive: 1; not applicable: 1" in text
    assert "F1 claim F1 ● supported the lead: 34.0% [20.0%, 48.0%] is above 10.0%." in text
    assert "F2 claim F2 ○ not supported the lead: 1.00% [0%, 2.00%] is not above 10.0%." in text
    assert "F4 claim F4 ◐ inconclusive the lead: 10.0% [−4.00%, 24.0%], an interval that includes 10.0%." in text
    assert "F3 claim F3 – not applicable No ReLU here." in text
    ways = re.findall(r'href="#(claim-\d+)"', markup)
    assert len(ways) == 4 and all(f'id="{way}"' in markup for way in ways), f"{ways} lead nowhere"


def test_the_end_is_attention_and_ffn() -> None:
    sparse = Finding("Most are 0.", numbers=(Number("exact_zero_share", "exactly 0", 0.9, "share"),))
    record = made_lab(findings=[*[made_finding()] * 5, sparse])
    text = unescape(shown(claims_section(record, "fake").markup))
    places = [text.index(f" {aspect.name} {aspect.attention} {aspect.ffn} ") for aspect in measured_aspects(record)]
    assert places == sorted(places) and places[0] > text.index("Attention and FFN")


def test_a_lab_of_another_model_is_called_so() -> None:
    markup = claims_section(made_lab("other"), "fake").markup
    assert "<strong>These claims were tested on other; the trace on this page is of fake. </strong>" in markup
    assert "These claims were" not in claims_section(made_lab("fake"), "fake").markup


def test_a_lab_without_claims_has_a_section() -> None:
    text = shown(claims_section(made_lab(findings=[]), "fake").markup)
    assert "No claim was tested" in text and "Attention and FFN" not in text


@pytest.mark.parametrize("word", ["<script>alert(1)</script>", *HOSTILE], ids=range(len(HOSTILE) + 1))
def test_no_text_of_a_lab_becomes_markup(word: str) -> None:
    def elements(record: LabRecord) -> list[tuple[str, str | None]]:
        found = read_page(claims_section(record, "fake").markup).elements
        return [(name, attributes.get("class")) for name, attributes in found]

    assert elements(made_lab(word=word)) == elements(made_lab(word=" plain ")), f"{word!r} changed the page"
    assert "<script" not in claims_section(made_lab(word=word), "fake").markup.lower()


def test_pictures_are_well_formed_named_and_need_nothing() -> None:
    for word in ("", *HOSTILE):
        found = pictures(claims_section(made_lab(word=word), "fake").markup)
        assert len(found) == 2, f"with {word!r} there are {len(found)} pictures"
        for picture in found:
            names = {one.tag for one in picture.iter()}
            assert names <= SVG_ONLY and picture.get("aria-label"), f"{names} in a picture of {word!r}"
            styled = [key for one in picture.iter() for key in one.attrib if key == "style" or key.startswith("on")]
            assert not styled, "the page's policy forbids what an attribute does"


def test_every_point_and_axis_of_a_curve_is_labeled() -> None:
    lines = (Series("first", (1.0, 2.0, 4.0)), Series("second", (0.5, NAN, -1.0)))
    markup = curve_figure(Curve("a curve", "layer", ("0", "1", "2"), "bits", lines))
    (picture,) = pictures(markup)
    assert titles(picture) == [
        "first, layer 0: 1.00",
        "first, layer 1: 2.00",
        "first, layer 2: 4.00",
        "second, layer 0: 0.500",
        "second, layer 2: −1.00",
    ]
    assert [text.text for text in picture.iter("text")] == ["−2", "0", "2", "4", "0", "1", "2"]
    text = shown(markup)
    assert "a curve ↑ bits" in text and "layer → first second" in text
    said = picture.get("aria-label") or ""
    assert said == "a curve: bits by layer; first from 1.00 to 4.00; second from −1.00 to 0.500"


def test_lines_differ_by_more_than_color() -> None:
    lines = tuple(Series(f"line {place}", (0.0, float(place))) for place in range(10))
    markup = curve_figure(Curve("many", "layer", ("0", "1"), "bits", lines))
    looks = set()
    for group in pictures(markup)[0].findall("g"):
        line, marker = group.find("path"), group.find("g/path")
        assert line is not None and marker is not None
        looks.add((line.get("stroke-dasharray"), re.sub(r"^M[\d.]+ [\d.]+", "", marker.get("d") or "")))
    assert len(looks) == 10, f"ten lines have {len(looks)} looks in gray"


def test_a_gap_is_no_line() -> None:
    (picture,) = pictures(curve_figure(curve(1.0, 2.0, NAN, 4.0, NAN, 6.0, 7.0)))
    line = picture.find("g/path")
    assert line is not None
    pieces = (line.get("d") or "").split("M")[1:]
    assert [piece.count("L") + 1 for piece in pieces] == [2, 2], f"the line is {pieces}"
    assert len(titles(picture)) == 5, "a point alone has its mark"


@few
@given(values=st.lists(numbers, min_size=1, max_size=40))
def test_whatever_a_curve_holds_its_points_are_inside(values: list[float]) -> None:
    (picture,) = pictures(curve_figure(curve(*values)))
    wide, high = map(float, (picture.get("viewBox") or "").split()[2:])
    marks = [mark.get("d") or "" for mark in picture.findall("g/g/path")]
    assert len(marks) == sum(np.isfinite(values))
    for mark in marks:
        at = re.match(r"M([\d.-]+) ([\d.-]+)m", mark)
        assert at and 0 <= float(at[1]) <= wide and 0 <= float(at[2]) <= high, f"{values} has a mark at {mark}"


@few
@given(ends=st.tuples(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12)).map(sorted))
def test_ticks_are_few_and_around_the_values(ends: list[float]) -> None:
    low, high = ends
    marks = ticks(low, high)
    slack = 1e-6 * max(high - low, 1e-300)
    assert 2 <= len(marks) <= 7 and marks == sorted(marks), f"{marks} for {low} to {high}"
    if high - low >= 1e-6 * max(abs(low), abs(high)) and high > low:
        assert marks[0] <= low + slack and marks[-1] >= high - slack, f"{marks} do not reach {low} to {high}"


def test_each_cell_shows_row_column_and_value() -> None:
    markup = heatmap_figure(grid((0.0, 1.0, 2.0), (3.0, NAN, 31.0)))
    (picture,) = pictures(markup)
    cells = {"layer 0, head 0: 0.000 bits", "layer 0, head 1: 1.00 bits", "layer 0, head 2: 2.00 bits"}
    cells |= {"layer 1, head 0: 3.00 bits", "layer 1, head 1: –", "layer 1, head 2: 31.0 bits"}
    assert set(titles(picture)) == cells
    text = shown(markup)
    assert "↑ layer" in text and "head →" in text
    assert re.search(r" 0\.000 +31\.0 \(bits\) highest at layer 1, head 2: 31\.0 bits; crossed out: no value", text)


def test_cells_have_the_palette_s_colors_and_the_first_row_is_at_the_bottom() -> None:
    (picture,) = pictures(heatmap_figure(grid((0.0, 1.0), (30.0, 31.0))))
    colored = {
        (cell.get("d") or "")[:4]: group.get("fill") for group in picture.findall("g/g") for cell in group.iter("path")
    }
    want = {place: hexadecimal(CIVIDIS.colors[level]) for place, level in (("M0 1", 0), ("M1 1", 1), ("M0 0", 30))}
    assert colored == want | {"M1 0": hexadecimal(CIVIDIS.colors[31])}


def test_a_cell_without_a_number_has_no_color() -> None:
    (picture,) = pictures(heatmap_figure(grid((NAN, 1.0, 2.0))))
    crossed = [group for group in picture.findall("g/g") if group.get("class") == "unknown"]
    assert len(crossed) == 1 and crossed[0].get("fill") is None and titles(crossed[0]) == ["layer 0, head 0: –"]


@few
@given(
    rows=st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[numbers] * n), min_size=1, max_size=3)),
    unit=st.sampled_from(["share", "nats", "bytes", "count"]),
)
def test_whatever_a_grid_holds_every_cell_is_there(rows: list[tuple[float, ...]], unit: str) -> None:
    markup = heatmap_figure(grid(*rows, unit=unit))
    (picture,) = pictures(markup)
    assert len(titles(picture)) == len(rows) * len(rows[0])
    if not np.isfinite(rows).any():
        assert f"no value ({unit})" in markup


@pytest.mark.parametrize(
    "values", [((0.5,),), ((0.5, 0.5), (0.5, 0.5)), ((1e308, -1e308),), ((5e-324, 0.0),), ((float("inf"), 1.0),)]
)
def test_odd_grids_have_a_picture(values: tuple[tuple[float, ...], ...]) -> None:
    (picture,) = pictures(heatmap_figure(grid(*values)))
    assert len(titles(picture)) == sum(map(len, values))


def test_what_is_empty_says_so() -> None:
    assert "no points" in curve_figure(Curve("none", "layer", (), "bits", ()))
    assert "no cells" in heatmap_figure(grid()) and "no cells" in heatmap_figure(grid((), ()))


def test_long_labels_are_cut_and_thinned_and_can_be_read_whole() -> None:
    labels = tuple(f"a very long label {place}" for place in range(60))
    (picture,) = pictures(curve_figure(Curve("words", "word", labels, "bits", (Series("a", (1.0,) * 60),))))
    below = [text for text in picture.iter("text") if text.get("text-anchor") == "middle"]
    assert 2 <= len(below) <= 6 and all(len(text.text or "") <= 10 for text in below)
    assert [titles(text) for text in below[:1]] == [[labels[0]]]


def test_a_full_lab_is_small_and_a_large_model_s_is_not_large() -> None:
    zoo = claims_section(made_lab(findings=[made_finding(6, 8)] * 16), "fake").markup
    assert len(zoo.encode("utf8")) < 300_000, f"16 claims have {len(zoo.encode('utf8')):,} bytes"
    large = heatmap_figure(made_finding(30, 32).grids[0])
    assert len(large.encode("utf8")) < 100_000, f"960 heads have {len(large.encode('utf8')):,} bytes"
    assert len(titles(pictures(large)[0])) == 960


def test_the_command_draws_what_the_lab_wrote(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trace, file, out = made_trace().save(tmp_path / "run.trace"), tmp_path / "lab.json", tmp_path / "run.html"
    file.write_text(json.dumps(to_json(made_lab())), encoding="utf8")
    assert exit_code(["report", str(trace), "-o", str(out), "--lab", str(file)]) == 0, capfd.readouterr().err
    page = out.read_text(encoding="utf8")
    assert claims_section(made_lab(), made_trace().model).markup in page
    assert '<a href="#lab">Lab</a>' in page
    assert not re.search(r"https?:|url\(|@import| style=", page.partition("<main>")[2].partition("</main>")[0])


def broken_labs() -> dict[str, Any]:
    """Files that are no lab, or have lost or changed something, or say what cannot be drawn."""
    whole = to_json(made_lab())
    lab = whole["lab"]
    result = lab["results"][0]
    finding = result["finding"]

    def with_finding(**changed: Any) -> dict[str, Any]:
        return whole | {"lab": lab | {"results": [result | {"finding": finding | changed}]}}

    return {
        "a list": [1, 2],
        "a comparison": {"format": 1, "reference": {}},
        "of another format": whole | {"format": 99},
        "empty": {},
        "without claims": whole | {"lab": {key: value for key, value in lab.items() if key != "results"}},
        "with an effect that lacks its interval": with_finding(effects=[finding["effects"][0] | {"low": "x"}]),
        "of an older format": whole | {"format": 1},
        "with words for numbers": with_finding(numbers=[{"key": "a", "means": "b", "value": "<b>", "unit": "bits"}]),
        "with a short line": with_finding(curves=[finding["curves"][0] | {"x": ["0"]}]),
        "with ragged rows": with_finding(grids=[finding["grids"][0] | {"values": [[1.0], [1.0, 2.0]]}]),
    }


@pytest.mark.parametrize("kind", broken_labs())
def test_a_file_that_is_no_lab_is_one_clear_error(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file, trace = tmp_path / "lab.json", made_trace().save(tmp_path / "run.trace")
    file.write_text(json.dumps(broken_labs()[kind]), encoding="utf8")
    code = exit_code(["report", str(trace), "-o", str(tmp_path / "x.html"), "--lab", str(file)])
    said = capfd.readouterr().err
    drawn = "cannot be drawn" if kind in ("with a short line", "with ragged rows") else "is not a lab that this Edge"
    assert code == 1 and f"edge: {file} {drawn}" in said and "Traceback" not in said, f"ends with {code}: {said}"
    assert not (tmp_path / "x.html").exists(), "a refused report left a file"


def test_a_lab_is_no_timeline_and_is_not_written_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file, trace = tmp_path / "lab.json", made_trace().save(tmp_path / "run.trace")
    file.write_text(json.dumps(to_json(made_lab())), encoding="utf8")
    before = file.read_bytes()
    for arguments, code, words in (
        ((trace, "-o", file, "--lab", file), 2, "would be overwritten"),
        ((trace, "-o", tmp_path / "x.html", "--perfetto", "--lab", file), 2, "cannot be combined with --profile"),
        ((trace, "-o", tmp_path / "x.html", "--lab", tmp_path / "none"), 1, "there is no lab"),
        ((file, "-o", tmp_path / "x.html"), 1, "edge: "),
    ):
        got = exit_code(["report", *map(str, arguments)])
        said = capfd.readouterr().err
        assert got == code and words in said and "Traceback" not in said, f"{arguments} ends with {got}: {said}"
    assert file.read_bytes() == before
