"""Laws of the page: one file, no text that becomes markup, numbers that are the trace's."""

import json
import re
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edge
from edge.attention_pattern import visible_keys
from edge.cli import exit_code
from edge.measure.registry import MEASURES
from edge.picture.levels import Linear, Log, Scale
from edge.picture.pieces import show_piece
from edge.report.byte_levels import (
    BYTE_LEVELS,
    HIDDEN_LEVEL,
    UNKNOWN_LEVEL,
    blocks,
    from_quantized_text,
    level_values,
    to_byte_levels,
)
from edge.report.comparison_section import comparison_section
from edge.report.markup import script_json
from edge.report.page import report_page
from edge.report.time_section import time_section
from edge.report.trace_values import COLUMNS, WEIGHTS, attention_maps, logprobs_of, share_scale, watched_layers
from edge.trace import Trace
from edge.watch import Watch
from tests.edge.report.example_traces import HOSTILE, made_comparison, made_profile, made_trace, read_page, with_text

few = settings(max_examples=40)
scales = st.sampled_from([Linear(0.0, 1.0), Linear(-7.0, 0.0), Log(1e-4, 1.0), Log(0.5, 80.0)])
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def zoo_trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """What the README shows: a real model of the zoo, 64 tokens."""
    with edge.load("fable-relu", engine="onnx") as model:
        return model.run("Once upon a time", max_new_tokens=64, watch=Watch.all(), stop_tokens=())


@cache
def full_page(words: tuple[str, ...] | None = None) -> str:
    """A made-up trace with profile, comparison and lab; `words` takes the place of every text in it."""
    trace = made_trace([f" word {place}" for place in range(12)])
    names = ("torch", "onnx", "onnx:int4")
    if words is None:
        beside = [time_section(made_profile(), trace.model), comparison_section(made_comparison(), trace.model)]
        return report_page(trace, beside)
    few_words = [words[place % len(words)] + str(place) for place, _ in enumerate(names)]
    profile = replace(made_profile(few_words[:2], model=words[0]), warm_up=words[-1], when=words[-1])
    comparison = made_comparison(few_words, model=words[0])
    trace = with_text(trace, words)
    return report_page(trace, [time_section(profile, "fake"), comparison_section(comparison, "fake")])


@few
@given(scale=scales, values=st.lists(st.floats(-10, 100, width=32), min_size=1, max_size=30))
def test_a_fine_level_is_within_half_a_step_of_its_value(scale: Scale, values: list[float]) -> None:
    value = np.array(values, np.float32)
    level = to_byte_levels(value, scale)
    assert level.min() >= 1 and level.max() <= BYTE_LEVELS, f"a value became a mark: {level}"
    decoded = level_values(scale)[level - 1]
    off = np.abs(scale.place(decoded) - np.clip(scale.place(value), 0, 1)).max()
    assert off <= 0.501 / (BYTE_LEVELS - 1), f"{values} on {scale} is off by {off * (BYTE_LEVELS - 1):.2f} levels"


def test_what_is_not_a_value_is_kept_separate() -> None:
    level = to_byte_levels(np.array([np.nan, 0.5, 0.5]), Linear(0.0, 1.0), np.array([False, True, False]))
    assert level[0] == UNKNOWN_LEVEL and level[1] == HIDDEN_LEVEL and 1 <= level[2] <= BYTE_LEVELS


@few
@given(seed=st.integers(0, 99), rows=st.integers(1, 9), side=st.integers(1, 4))
def test_a_block_is_the_level_of_its_largest_value(seed: int, rows: int, side: int) -> None:
    value = np.random.default_rng(seed).random((rows, rows))
    small = blocks(to_byte_levels(value, WEIGHTS), side)
    for row, column in np.ndindex(small.shape):
        inside = value[row * side : (row + 1) * side, column * side : (column + 1) * side]
        want = to_byte_levels(inside.max(keepdims=True), WEIGHTS)[0, 0]
        assert small[row, column] == want, f"block {row}, {column} is level {small[row, column]}, its largest {want}"


def test_the_page_of_a_zoo_trace_is_one_small_file(zoo_trace: Trace, tmp_path: Path) -> None:
    page = report_page(zoo_trace)
    assert len(page.encode("utf8")) < MEGABYTE, f"the page has {len(page.encode('utf8')):,} bytes"
    assert zoo_trace.model in page and zoo_trace.engine in page
    assert read_page(page).strip == [show_piece(piece) for piece in zoo_trace.pieces]


def test_the_maps_of_a_page_are_the_trace_s_patterns(zoo_trace: Trace) -> None:
    kept = read_page(report_page(zoo_trace)).record["attention"]
    shape = (len(kept["layers"]), kept["heads"], kept["cells"], kept["cells"])
    spec, tokens = zoo_trace.spec, zoo_trace.n_fed
    assert kept["layers"] == list(range(spec.n_layers)) and kept["block"] == 1
    assert shape[1:] == (spec.n_heads, tokens, tokens)
    levels = from_quantized_text(kept["levels"], shape)
    step = np.log(1e4) / (BYTE_LEVELS - 1)
    for layer, head in np.ndindex(*shape[:2]):
        visible = visible_keys(tokens, tokens, spec.layers[layer].attention.window)
        shown = levels[layer, head]
        assert ((shown == HIDDEN_LEVEL) == ~visible).all(), f"layer {layer}, head {head} shows hidden keys"
        want = np.maximum(zoo_trace.pattern(layer, head)[visible], 1e-4)
        off = np.abs(np.log(level_values(WEIGHTS)[shown[visible] - 1]) - np.log(want)).max()
        assert off <= 0.51 * step, f"layer {layer}, head {head} is off by {off / step:.2f} levels"
        text = [float(kept["labels"][level - 1].replace("≤", "")) for level in shown[visible][:50]]
        np.testing.assert_allclose(text, want[:50], rtol=0.07, err_msg="a label is not its weight to two digits")


def test_the_sparsity_of_a_page_is_the_trace_s(zoo_trace: Trace) -> None:
    kept = read_page(report_page(zoo_trace)).record["sparsity"]
    for name, measure in ((one.key, one.of) for one in MEASURES):
        shares = np.stack([measure(zoo_trace.neurons(layer)) for layer in range(zoo_trace.spec.n_layers)])
        scale = share_scale(shares)
        levels = from_quantized_text(kept["measures"][name]["levels"], shares.shape)
        off = np.abs(level_values(scale)[levels - 1] - shares).max()
        assert off <= 0.51 * (scale.high - scale.low) / (BYTE_LEVELS - 1), f"{name} is off by {off:.2g}"


def test_a_prompt_s_logprobs_are_known_where_logits_were_watched(zoo_trace: Trace) -> None:
    reported = logprobs_of(zoo_trace)
    assert np.isnan(reported[0]) and np.isfinite(reported[1:]).all(), "only the first token has no probability"
    logits = zoo_trace.site("logits").astype(np.float64)
    for token in (1, zoo_trace.prompt_length, 30):
        row = logits[token - 1]
        want = row[zoo_trace.tokens[token]] - np.log(np.exp(row - row.max()).sum()) - row.max()
        assert abs(reported[token] - want) < 1e-4, (
            f"token {token} has {reported[token]} nats, its logits say {want:.5f}"
        )
    blind = logprobs_of(replace(zoo_trace, sites={}))
    given = zoo_trace.prompt_length
    np.testing.assert_allclose(blind[given:], reported[given:])
    assert np.isnan(blind[:given]).all(), "nothing was kept of the prompt's tokens"


def test_a_page_needs_nothing_but_itself() -> None:
    page = full_page()
    read = read_page(page)
    scripts = [attributes for name, attributes in read.elements if name == "script"]
    assert scripts == [{"type": "application/json", "id": "record"}, {}]
    for name, attributes in read.elements:
        leaves = {"src", "srcset", "action", "poster", "xlink:href", "style"} & attributes.keys()
        handlers = [key for key in attributes if key.startswith("on")]
        assert not leaves and not handlers, f"<{name}> has {sorted(leaves) + handlers}"
        target = attributes.get("href") or "#"
        assert target == "data:," or target.startswith("#"), f"<{name}> leads to {target}"
    assert not re.search(r"https?:|//cdn|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|eval\(|innerHTML", page)
    policy = next(attributes["content"] for name, attributes in read.elements if "http-equiv" in attributes)
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")


def test_no_text_becomes_markup() -> None:
    plain, hostile = read_page(full_page()), read_page(full_page(HOSTILE))
    without = [(name, attributes.get("class")) for name, attributes in plain.elements]
    with_hostile = [(name, attributes.get("class")) for name, attributes in hostile.elements if name != "strong"]
    missing = [pair for pair in set(with_hostile) - set(without) if pair[1] not in ("note",)]
    assert not missing, f"hostile text made {missing}"
    assert hostile.comments == [], f"hostile text made comments: {hostile.comments}"
    assert hostile.texts["script"][1] == plain.texts["script"][1], "hostile text changed the script"
    assert hostile.texts["style"] == plain.texts["style"], "hostile text changed the style"
    assert hostile.strip == [show_piece(piece) for piece in with_text(made_trace([""] * 12), HOSTILE).pieces]


@few
@given(words=st.lists(st.text(max_size=12), min_size=1, max_size=5))
def test_a_record_cannot_end_its_script(words: list[str]) -> None:
    written = script_json({"words": words, "\u2028": HOSTILE})
    assert written.isascii() and not set("<>&") & set(written), f"{words!r} is written as {written}"
    assert json.loads(written)["words"] == words


@settings(max_examples=15)
@given(words=st.lists(st.text(max_size=12), min_size=1, max_size=5))
def test_whatever_the_text_the_page_is_the_same_but_for_it(words: list[str]) -> None:
    trace = made_trace(made=2)
    plain, read = read_page(report_page(trace)), read_page(report_page(with_text(trace, words)))
    assert [name for name, _ in read.elements] == [name for name, _ in plain.elements], f"{words!r} changed elements"
    assert read.record["attention"] == plain.record["attention"]
    assert "".join(read.strip) == "".join(show_piece(piece) for piece in with_text(trace, words).pieces)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_control_character_reaches_a_page(text: str) -> None:
    page = report_page(with_text(made_trace(), [text]))
    page.encode("utf8")
    found = re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page)
    assert not found, f"{text!r} left {found} in the page"


def test_a_long_trace_is_made_smaller_and_says_so() -> None:
    with edge.load("fable-relu", engine="onnx") as model:
        ids = [(7 + 31 * place) % model.spec.vocab_size for place in range(511)]
        trace = model.run(ids=ids, max_new_tokens=1, watch=Watch(parts=("attn.query", "attn.key", "ffn.neurons")))
    page = report_page(trace)
    kept = read_page(page).record["attention"]
    assert len(page.encode("utf8")) < MEGABYTE, f"the page has {len(page.encode('utf8')):,} bytes"
    assert kept["block"] * kept["cells"] >= 511 and kept["block"] > 1
    said = f"The 511 × 511 weights of a head are shown as {kept['cells']} × {kept['cells']} cells"
    assert said in page and f"a block of {kept['block']} × {kept['block']}" in page


def test_sparsity_of_many_tokens_is_shown_as_means() -> None:
    tokens = COLUMNS + 3
    trace = made_trace(["a"] * 3)
    rng = np.random.default_rng(0)
    sites = {f"layers.{layer}.ffn.neurons": rng.random((tokens, 8), np.float32) - 0.5 for layer in range(3)}
    long = replace(trace, n_fed=tokens, tokens=(1,) * tokens, pieces=("a",) * tokens, sites=sites, logprobs=())
    page = report_page(long)
    kept = read_page(page).record["sparsity"]
    assert kept["wide"] == 2 and kept["columns"] == -(-tokens // 2)
    assert f"{tokens:,} tokens do not fit, so a column is the mean of 2 tokens" in page


def test_maps_keep_to_the_bytes_they_are_given() -> None:
    trace = made_trace([f" {place}" for place in range(36)])
    whole, small = attention_maps(trace, print), attention_maps(trace, print, most_bytes=2_500)
    assert whole is not None and small is not None
    assert whole.block == 1 and small.block == 4, f"blocks of {whole.block} and {small.block}"
    np.testing.assert_array_equal(small.levels, blocks(whole.levels, 4))


@pytest.mark.parametrize(
    ("watch", "missing"),
    [
        (Watch(parts=("ffn.neurons",)), "Queries and keys were not recorded"),
        (Watch(parts=("attn.query", "attn.key")), "neurons were not recorded"),
        (Watch(parts=("attn.query", "attn.key", "ffn.neurons"), layers=(1,)), "of layers 1"),
        (Watch.nothing(), "Queries and keys were not recorded"),
    ],
)
def test_what_was_not_watched_is_said(watch: Watch, missing: str) -> None:
    page = report_page(made_trace(watch=watch))
    assert missing in page
    trace = made_trace(watch=watch)
    kept = read_page(page).record
    assert kept.get("attention", {}).get("layers", []) == list(watched_layers(trace, "attn.query", "attn.key"))
    assert kept.get("sparsity", {}).get("layers", []) == list(watched_layers(trace, "ffn.neurons"))


def test_a_run_of_one_token_has_a_page() -> None:
    assert "only one token, which attends to itself" in report_page(made_trace(["Once"], made=0))


def test_the_words_of_a_page_name_definitions_and_units() -> None:
    page = full_page()
    for words in ("in nats", "in bits", "a share of 1; each row sums to 1", "mean(a = 0)", "254 levels", "Coverage: Σ"):
        assert words in page, f"the page does not say '{words}'"


def luminance(color: str) -> float:
    """Relative luminance, WCAG 2."""
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_can_be_read_in_light_in_dark_and_on_paper() -> None:
    style = files("edge.report").joinpath("page.css").read_text(encoding="utf8")
    themes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)
    ]
    assert len(themes) == 3, "light, dark and paper"
    for theme in themes:
        full = {
            name: "#" + "".join(2 * c for c in value[1:]) if len(value) == 4 else value for name, value in theme.items()
        }
        for ink in ("ink", "dim", "accent", "good", "bad"):
            light, dark = sorted((luminance(full[ink]), luminance(full["paper"])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, f"--{ink} {full[ink]} on {full['paper']} is hard to read"


def test_the_page_s_script_stays_small() -> None:
    script = files("edge.report").joinpath("page.js").read_text(encoding="utf8")
    assert script.count("\n") < 300, f"page.js has {script.count(chr(10))} lines"


def test_the_command_writes_the_page(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file, out = made_trace().save(tmp_path / "run.trace"), tmp_path / "run.html"
    assert exit_code(["report", str(file), "-o", str(out)]) == 0
    said = capfd.readouterr()
    assert said.out == "" and f"{out}: " in said.err
    assert out.read_text(encoding="utf8") == report_page(edge.open_trace(file))


def test_the_command_refuses_what_it_cannot_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = made_trace().save(tmp_path / "run.trace")
    before = file.read_bytes()
    made = made_trace()
    one = {"tokens": made.tokens[:1], "pieces": made.pieces[:1], "logprobs": (), "prompt_length": 1, "n_fed": 1}
    nothing = replace(made, sites={}, **one).save(tmp_path / "nothing")
    for arguments, code, words in (
        ((file, "-o", tmp_path), 2, "is a folder"),
        ((file, "-o", file), 2, "would be overwritten"),
        ((tmp_path / "none", "-o", tmp_path / "x.html"), 1, "there is no trace"),
        ((file, "-o", tmp_path / "no" / "x.html"), 2, "does not exist; create it"),
        ((nothing, "-o", tmp_path / "x.html"), 2, "has no sites and no generated tokens"),
        ((file, "-o", tmp_path / "x.html", "--perfetto", "--profile", file), 2, "cannot be combined with --profile"),
        ((file, "-o", tmp_path / "x.html", "--perfetto"), 1, "is not a profile"),
        ((file, "-o", tmp_path / "x.html", "--profile", file), 1, "is not a profile"),
        ((file, "-o", tmp_path / "x.html", "--compare", file), 1, "is not a comparison"),
        ((file, "-o", tmp_path / "x.html", "--compare", tmp_path / "none"), 1, "no comparison at"),
    ):
        got = exit_code(["report", *map(str, arguments)])
        said = capfd.readouterr().err
        assert got == code and words in said, f"{arguments} ends with {got}: {said}"
    assert file.read_bytes() == before and sorted(tmp_path.iterdir()) == [nothing, file], "a refused report left a file"
