"""One run has one number under one name: in the library, the commands, the page, and on the screen."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

import edge
from edge.cli import exit_code
from edge.commands.compare_tables import summary_table
from edge.commands.profile_tables import profile_summary
from edge.commands.run import _record as run_record
from edge.commands.run import _summary as run_summary
from edge.commands.trace import layer_table
from edge.compare.activations import mean_sparsity
from edge.lab.survey import OF_LAYERS, Part, Survey, _add
from edge.measure.activation_counts import NeuronCounts
from edge.measure.attention import entropy_bits, first_token_share
from edge.measure.overview import survey
from edge.measure.registry import MEASURES
from edge.picture.units import show_bytes, show_number, show_share
from edge.profile.weight_memory import weight_bytes, weights_memory_bytes
from edge.report.pass_kinds import pass_kinds
from edge.report.time_section import time_section
from edge.report.trace_sections import layers_section
from edge.report.trace_values import attention_maps, ffn_sparsity
from edge.trace import Trace, open_trace
from models.checkpoint import open_checkpoint
from models.find_model import find_model
from models.parameters import parameter_count
from models.zoo import zoo_names
from tests.edge.profile import example_profiles
from tests.edge.report.example_traces import made_comparison
from tests.tui.app_driver import PATIENCE_S, AppDriver
from tests.tui.fake_model import FakeModels
from tui.app_factory import app_on_model, app_on_trace, model_opener
from tui.cost_table import Cost
from tui.engine_costs import Costs, cost_rows
from tui.jobs.job import ModelOnEngine
from tui.widgets.layers.layer_table import LayerTable

PROMPT = "Once upon a time there was a king"
ZOO = [name for name in ("fable-relu", "fable-gelu") if name in zoo_names()]
GLOSSARY = (Path(__file__).parents[2] / "docs" / "reference" / "glossary.md").read_text(encoding="utf8")

NAMED = (
    *("entropy", "mean entropy of a head or layer", "first-token share", "exact zeros", "top-p 0.9", "Hoyer", "Gini"),
    *("ttft", "tok/s", "prefill", "decode p50", "coverage", "share of time"),
    *("weights on disk", "weights in memory", "KV cache", "allocator peak", "process peak", "recorded"),
)
"""Numbers that more than one place shows, as the glossary names them."""


@pytest.fixture(scope="module", params=ZOO)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a bundled model, as `edge trace` saves it, and what the command printed."""
    file = tmp_path_factory.mktemp("one") / f"{request.param}.trace"
    with edge.load(request.param, "onnx") as model:
        model.run(PROMPT, max_new_tokens=5, watch=edge.Watch.all()).save(file)
    return file


@pytest.fixture(scope="module")
def trace(file: Path) -> Trace:
    return open_trace(file)


def means(trace: Trace) -> Iterator[dict[str, float]]:
    """Each layer's numbers, from their definitions alone."""
    for layer in range(trace.spec.n_layers):
        patterns = [trace.pattern(layer, head)[1:] for head in range(trace.spec.n_heads)]
        neurons = trace.neurons(layer)
        yield {
            "entropy_bits": fmean(float(entropy_bits(pattern).mean()) for pattern in patterns),
            "first_token_share": fmean(float(first_token_share(pattern).mean()) for pattern in patterns),
            "exact_zero_share": float((neurons == 0).mean()),
            "top_p_sparsity": float(MEASURES[1].of(neurons).mean()),
        }


def test_every_shared_number_is_defined_in_the_glossary() -> None:
    rows = {line.split("|")[1].strip() for line in GLOSSARY.splitlines() if line.startswith("| ")}
    missing = [name for name in NAMED if name not in rows]
    assert not missing, f"the glossary does not define {', '.join(missing)}"


def test_edge_trace_prints_the_definitions(trace: Trace) -> None:
    for row, wanted in zip(layer_table(trace).records(), means(trace), strict=True):
        assert {key: row[key] for key in wanted} == pytest.approx(wanted, rel=1e-5), f"layer {row['layer']}"


def test_the_screen_s_overview_is_what_edge_trace_prints(trace: Trace) -> None:
    *_, known = survey(trace)
    for row in layer_table(trace).records():
        layer = int(str(row["layer"]))
        assert row["entropy_bits"] == pytest.approx(float(known.heads.entropy_bits[layer].mean()), rel=1e-6)
        assert row["first_token_share"] == pytest.approx(float(known.heads.first_token[layer].mean()), rel=1e-6)
        for key, values in known.sparsity.items():
            assert row[key] == pytest.approx(float(values[layer].mean()), rel=1e-6, abs=1e-9), key


def test_the_page_prints_what_edge_trace_prints(trace: Trace) -> None:
    markup = layers_section(trace, attention_maps(trace, lambda _: None), ffn_sparsity(trace)).markup
    rows = re.findall(r"<tr><th[^>]*>(\d+)</th>(.*?)</tr>", markup)
    printed = {int(layer): re.findall(r"<td>(.*?)</td>", cells) for layer, cells in rows}
    for row in layer_table(trace).records():
        entropy, first, *sparsities = (float(str(row[key])) for key in list(row)[1:])
        wanted = [show_number(entropy), show_share(first)]
        wanted += [measure.unit.show(value) for measure, value in zip(MEASURES, sparsities, strict=True)]
        assert printed[int(str(row["layer"]))] == wanted, f"layer {row['layer']} of the page"


def test_a_comparison_and_a_survey_count_as_edge_trace_does(trace: Trace) -> None:
    spec = trace.spec
    shapes = dict.fromkeys(("entropy_bits", "first_token_share", "previous_token", "distance_tokens"), spec.n_heads)
    sums = {name: np.zeros((spec.n_layers, heads), np.int64) for name, heads in shapes.items()}
    sums |= {name: np.zeros(spec.n_layers, np.int64) for name in OF_LAYERS}
    counts = NeuronCounts.empty([layer.ffn.d_ff for layer in spec.layers])
    none = Survey("zoo", "onnx", "", (Part(1, 1),), tokens=0, queries=0, sums=sums, counts=counts)
    surveyed = _add(none, trace, Part(1, 1, 1))
    for layer, row in enumerate(layer_table(trace).records()):
        compared = mean_sparsity(trace, layer)
        assert compared == pytest.approx((row["exact_zero_share"], row["top_p_sparsity"]), rel=1e-6, abs=1e-9)
        entropy, first = (surveyed.mean(name)[layer].mean() for name in ("entropy_bits", "first_token_share"))
        assert (entropy, first) == pytest.approx((row["entropy_bits"], row["first_token_share"]), rel=1e-5)
        assert surveyed.mean("exact_zero_share")[layer] == pytest.approx(row["exact_zero_share"], rel=1e-6, abs=1e-9)


async def test_a_trace_opens_with_the_definition_that_its_live_run_has(trace: Trace) -> None:
    """The column is headed by the definition, and holds its numbers at the chosen token."""
    app = app_on_trace(trace)
    async with app.run_test(size=(200, 60)) as pilot:
        ui = AppDriver(app, app.main, pilot, FakeModels(), app.main.runner)
        await ui.until(lambda: not np.isnan(ui.shown_run.overview.sparsity["gini"]).any(), "the trace to be measured")
        sparsity, token = app.main.state.options.sparsity, app.main.state.selection.token
        assert sparsity.key == ("exact_zero_share" if "relu" in trace.model else "top_p_sparsity"), (
            f"{trace.model}: {sparsity.title}"
        )
        table = app.main.query_one(LayerTable)
        assert sparsity.title in ui.shown("#layers").split("\n")[0], "the column does not name its definition"
        values = ui.shown_run.overview.sparsity[sparsity.key]
        assert [row.sparsity for row in table.rows] == pytest.approx(values[:, token].tolist())
        assert sparsity.title in str(app.main.query_one("#layers-pane").border_title)


async def test_a_definition_that_one_model_asked_for_does_not_stay_for_the_next() -> None:
    with edge.load("fable-relu", "onnx") as relu, edge.load("fable-gelu", "onnx") as gelu:
        zero, smooth = (model.run(PROMPT, max_new_tokens=0, watch=edge.Watch.all()) for model in (relu, gelu))
    app = app_on_trace(smooth)
    async with app.run_test(size=(200, 60)) as pilot:
        ui = AppDriver(app, app.main, pilot, FakeModels(), app.main.runner)
        await ui.until(lambda: app.main.state.main is not None, "the first trace")
        app.main.session.show_saved(zero)
        await ui.until(lambda: ui.shown_run.trace is zero, "the second trace")
        assert app.main.state.options.sparsity.key == "exact_zero_share", "it depends on what was open before"


async def test_the_time_to_the_first_token_holds_tokenizing_everywhere() -> None:
    app, runner = app_on_model(model_opener(None), ModelOnEngine("fable-relu", "onnx"), ("onnx",))
    try:
        async with app.run_test(size=(200, 60)) as pilot:
            ui = AppDriver(app, app.main, pilot, FakeModels(), runner)
            await ui.until(lambda: app.main.state.model is not None, "the model to load")
            await ui.run(PROMPT)
            trace = ui.shown_run.trace
            header = " ".join(ui.shown("HeaderBar").split())
            model = app.main.state.model
    finally:
        assert runner.close(PATIENCE_S)
    timing = trace.timing
    assert timing.tokenize_ms > 0, "a run of the screen is given ids, and its first token leaves tokenizing out"
    assert timing.ttft_ms >= timing.tokenize_ms + timing.prefill_ms
    assert f"ttft {show_number(timing.ttft_ms)} ms" in header, header
    record = run_record(trace, None)["timing"]
    for key in ("tokenize_ms", "prefill_ms", "ttft_ms", "tokens_per_second"):
        assert record[key] == getattr(timing, key), f"{key} of 'edge run --json'"
    assert f"ttft {timing.ttft_ms:.3g} ms" in run_summary(trace)
    assert f"{show_number(timing.tokens_per_second or 0)} tok/s" in header, header
    assert f"recorded {show_bytes(trace.watch.cost_bytes(trace.spec, trace.n_fed))}" in header
    assert model is not None and model.parameters == parameter_count(trace.spec)
    first = example_profiles.variant().first_tokens[0]
    summed = profile_summary(example_profiles.profile())["memory"][0]
    assert (summed["ttft_ms"], summed["tokenize_ms"]) == (first.ttft_ms, first.tokenize_ms)


def test_memory_has_one_name_for_each_number() -> None:
    one = example_profiles.variant()
    memory = replace(
        one.memory,
        weights_bytes=14_000_000,
        weights_memory_bytes=27_000_000,
        kv_bytes=3_000_000,
        allocator_peak_bytes=5,
    )
    found = example_profiles.profile(replace(one, memory=memory))
    command = profile_summary(found)["memory"][0]
    reported = {key: command[f"{key}_mb"] for key in ("weights_on_disk", "weights_memory", "kv", "process_peak")}
    assert reported == {"weights_on_disk": 14.0, "weights_memory": 27.0, "kv": 3.0, "process_peak": 100.0}
    kind = pass_kinds(found)[-1]
    screen = {row.title: row.values[0] for row in cost_rows(Costs(found, kind)) if isinstance(row, Cost)}
    assert (screen["weights on disk"], screen["weights in memory"]) == (14_000_000, 27_000_000)
    assert (screen["KV cache"], screen["process peak"]) == (3_000_000, 100_000_000)
    page = time_section(found, "by hand").markup
    assert "weights on disk" in page and "weights in memory" in page and show_bytes(27_000_000) in page
    compared = summary_table(made_comparison(("torch", "onnx")))
    labels = {str(row[0]) for row in compared.rows}
    assert {"weights on disk", "weights in memory", "process peak"} <= labels, f"a comparison names {labels}"


@pytest.mark.parametrize(("engine", "size"), [("torch", 4), ("torch:bf16", 2), ("mlx:fp16", 2), ("onnx", 4)])
def test_weights_held_follow_the_number_format_not_the_disk(engine: str, size: int) -> None:
    checkpoint = open_checkpoint(find_model("fable-relu"))
    held = weights_memory_bytes(checkpoint.spec, weight_bytes(engine, checkpoint))
    assert held == size * parameter_count(checkpoint.spec), f"{engine} does not hold {size} bytes a parameter"


def test_the_command_prints_what_its_table_holds(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trace_file = tmp_path / "once.trace"
    assert exit_code(["trace", "fable-relu", PROMPT, "-n", "5", "-o", str(trace_file), "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == layer_table(open_trace(trace_file)).records()
