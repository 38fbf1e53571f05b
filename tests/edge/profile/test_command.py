"""`edge profile` as users call it: one real run of the zoo on every engine, and requests that make no sense."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from edge.cli import exit_code
from edge.profile.breakdown import PartBreakdown
from edge.profile.record import Profile, open_profile
from edge.profile.summary import depth_summaries

PARTS = ("attn.norm", "attn.qkv", "attn.core", "attn.out", "ffn.norm", "ffn.up", "ffn.act", "ffn.down")
ENGINES = ("torch", "torch:bf16", "onnx", "onnx:int4", "mlx", "mlx:int8")
SMALL = ["--rounds", "2", "--repeats", "2", "-n", "4", "--prompt-tokens", "16"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The profile that one command leaves."""
    file = tmp_path_factory.mktemp("profile") / "zoo.json"
    engines = [word for engine in ENGINES for word in ("-e", engine)]
    timeline = file.with_name("timeline.json")
    code = exit_code(
        ["profile", "fable-relu", *engines, *SMALL, "--sparsity", "-o", str(file), "--trace", str(timeline)]
    )
    assert code == 0 and timeline.is_file()
    return file


@pytest.fixture(scope="module")
def found(file: Path) -> Profile:
    return open_profile(file)


def test_every_engine_is_measured_from_outside_and_inside(found: Profile) -> None:
    assert tuple(variant.engine for variant in found.variants) == ENGINES
    for variant in found.variants:
        assert [at.workload.depth for at in variant.depths] == [0], "a context of 512 holds no depth of 512"
        for at in variant.depths:
            assert len(at.rounds) == 2 and all(len(one.inter_token_ms) == 4 for one in at.rounds)
            assert {one.times.tokens for one in at.passes} == {1, 16}
        assert len(variant.first_tokens) == 2 and variant.versions
    assert found.machine.cores >= 1 and len(found.rooflines) >= 2


def test_every_part_of_every_layer_has_time_and_work(found: Profile) -> None:
    for variant in found.variants:
        breakdown = PartBreakdown(variant.depths[0].passes[0])
        expected = {f"layers.{layer}.{part}" for layer in range(found.n_layers) for part in PARTS} | {"embed", "head"}
        fused = {part for part in expected if part.endswith(".ffn.act")} if "onnx" in variant.engine else set()
        assert expected - fused <= set(breakdown.parts), (
            f"{variant.engine} does not time {expected - set(breakdown.parts)}"
        )
        assert expected <= set(breakdown.passes.work)
        parts = sum(breakdown.scaled_ns.values())
        assert parts + (breakdown.sublayers.gap_ns or 0.0) == pytest.approx(breakdown.total_ns)


def test_memory_is_forecast_within_15_percent(found: Profile) -> None:
    for variant in found.variants:
        peak = variant.memory.process_peak_bytes
        if peak is None:
            pytest.skip("this system does not say what a process held")
        off = variant.estimated_peak_bytes / peak - 1
        assert abs(off) < 0.15, f"{variant.engine}: the estimate is {off:+.0%} off the peak of {peak / 1e6:.0f} MB"


def test_quantized_weights_are_counted_quantized(found: Profile) -> None:
    sizes = {variant.engine: variant.memory.weights_bytes for variant in found.variants}
    assert sizes["onnx:int4"] < sizes["mlx:int8"] < sizes["onnx"] == sizes["torch"]


def test_sparsity_is_compared_with_bytes(found: Profile) -> None:
    assert found.sparsity is not None and len(found.sparsity.layers) == found.n_layers
    assert all(0.5 < one.inactive["exact_zero_share"] <= 1 for one in found.sparsity.layers), (
        "the twin of ReLU is silent"
    )


def test_what_is_printed_says_how_sure_it_is(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = exit_code(["profile", "fable-relu", *SMALL, "--against", str(file)])
    printed = capfd.readouterr()
    assert code == 0
    for word in (
        "Σ of timed parts / uninstrumented pass",
        "unattributed",
        "share of bandwidth",
        "Changes since",
        "after / before",
        "estimated peak",
        "energy:",
    ):
        assert word in printed.out, f"nothing is said of '{word}'"
    assert "saved to" in printed.err, "it is not said where the samples are"


def test_json_holds_the_profile_and_csv_every_part(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small = ["profile", "fable-relu", "-e", "onnx", *SMALL, "-o", str(tmp_path / "kept.json")]
    assert exit_code([*small, "--json"]) == 0
    printed = capfd.readouterr().out
    (tmp_path / "printed.json").write_text(printed)
    assert open_profile(tmp_path / "printed.json") == open_profile(tmp_path / "kept.json")
    end_to_end = json.loads(printed)["summary"]["end_to_end"][0]
    rounds = json.loads(printed)["profile"]["variants"][0]["depths"][0]["rounds"]
    samples = [wait for one in rounds for wait in one["inter_token_ms"]]
    for name, q in (("decode_p50_ms", 50), ("decode_p90_ms", 90), ("decode_p99_ms", 99)):
        assert end_to_end[name] == pytest.approx(float(np.percentile(samples, q))), f"{name} is not numpy's"
    assert exit_code([*small, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capfd.readouterr().out)))
    assert {row["part"] for row in rows} >= {f"layers.3.{part}" for part in PARTS} - {"layers.3.ffn.act"}
    assert exit_code([*small, "--md"]) == 0
    assert "| engine | depth |" in capfd.readouterr().out


def test_runs_of_a_bundled_model_are_distinguished_by_depth(tmp_path: Path) -> None:
    file = tmp_path / "deep.json"
    deep = ["--depth", "0", "--depth", "300", "--depth", "9999"]
    assert exit_code(["profile", "fable-relu", *SMALL, *deep, "-o", str(file)]) == 0
    found = open_profile(file)
    assert [summary.at.workload.depth for summary in depth_summaries(found)] == [0, 300], (
        "a depth beyond the context was not left out"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no-such-model"], "no-such-model"),
        (["fable-relu", "-e", "onyx"], "no engine 'onyx'"),
        (["fable-relu", "--rounds", "0"], "--rounds is 0"),
        (["fable-relu", "--depth", "-1"], "--depth is -1"),
        (["fable-relu", "--depth", "512"], "no depth fits a context"),
        (["fable-relu", "--threads", "0"], "--threads is 0"),
        (["fable-relu", "--against", "nothing.json"], "there is no profile at nothing.json"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    words: list[str], message: str, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = exit_code(["profile", *words])
    reported = capfd.readouterr().err
    assert code in (1, 2) and message in reported, f"ended with {code}: {reported}"
    assert "Traceback" not in reported
