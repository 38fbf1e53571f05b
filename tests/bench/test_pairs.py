"""The benchmark counts right: ratios, rounds, bytes, and a runtime that fails; and its report shows them."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge.profile.machine import Roofline, this_machine
from models.families.config import Config
from models.families.llama import FAMILY, weights_of
from models.parameters import parameter_shapes
from models.precision import Scheme, Zero
from models.quantized_file import write_quantized
from tests.bench.checkpoint import LLAMA_1B, LLAMA_135M, SMALL, Shape
from tests.bench.pairs import Pair, Result, RuntimeFailed, Workload, open_worker
from tests.bench.record import Record, as_json, as_page, as_text, read_rates
from tests.bench.runtimes import EDGE_INT4, EDGE_ONNX, GENAI, LLAMA_CPP_INT4, Times
from tests.bench.traffic import dense, grouped, q4_0


def result(edge: list[Times], other: list[Times]) -> Result:
    return Result(Pair(EDGE_ONNX, GENAI, decode_aim=1.9, prefill_aim=2.0), edge, other)


def record(*results: Result) -> Record:
    workload = Workload(prompt=4, tokens=3, rounds=2, threads=1, rest_s=0.5)
    rooflines = (Roofline(1, bandwidth_bytes_per_s=1e11, flops_per_s=1.0), Roofline(1, 9e10, 1.0))
    left_out = ("edge mlx | mlx-lm (mlx-lm not installed)",)
    return Record("python -m tests.bench", LLAMA_135M, workload, this_machine(), results, left_out, rooflines)


RESULT = result(
    edge=[Times(100.0, (10.0, 10.0, 90.0)), Times(200.0, (20.0, 20.0, 20.0))],
    other=[Times(150.0, (20.0, 20.0, 20.0)), Times(400.0, (30.0, 30.0, 1.0))],
)


def test_a_ratio_is_above_one_where_edge_takes_less_time() -> None:
    assert RESULT.decode_ratios == [2.0, 1.5], "one slow token decides a round"
    assert RESULT.prefill_ratios == [1.5, 2.0]
    assert RESULT.decode_ms == (20.0, 20.0) and RESULT.prefill_ms == (150.0, 275.0)


@pytest.mark.parametrize("shape", [LLAMA_135M, LLAMA_1B], ids=lambda shape: shape.name)
def test_the_tensors_written_are_those_the_config_promises(shape: Shape) -> None:
    spec = FAMILY.spec_of(Config(Path("config.json"), dict(shape.config)))
    tensors = {name: stored.tensor for name, stored in weights_of(spec).items()}
    wanted = {tensors[name]: size for name, size in parameter_shapes(spec).items()}
    assert shape.tensors == wanted


def test_a_runtime_that_cannot_open_reports_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailed, match=r"edge onnx: .*nothing"):
        open_worker(EDGE_ONNX, tmp_path / "nothing", 1, lambda _: None)


def test_a_token_reads_the_bytes_that_a_quantized_file_holds(tmp_path: Path) -> None:
    """Except the norms; integer zeros take whole bytes there, half bytes in a graph."""
    spec = FAMILY.spec_of(Config(Path("config.json"), dict(SMALL.config)))
    random = np.random.default_rng(0)
    weights = {name: random.standard_normal(size, np.float32) for name, size in parameter_shapes(spec).items()}
    norms = sum(weight.nbytes for weight in weights.values() if weight.ndim == 1)
    for scheme in (Scheme(8, 32, Zero.WHOLE), Scheme(4, 128, Zero.MIDDLE)):
        file = tmp_path / "quantized.safetensors"
        write_quantized(spec, weights, scheme, file, lambda _: None)
        header = 8 + int.from_bytes(file.read_bytes()[:8], "little")
        assert grouped(scheme)(SMALL) + norms == file.stat().st_size - header, f"{scheme} reads other bytes"
    assert dense(SMALL) == sum(weight.nbytes for weight in weights.values())
    assert q4_0(SMALL) == (dense(SMALL) - norms) // 4 * 18 // 32


def test_the_record_has_every_pair_and_the_share_of_bandwidth() -> None:
    kept = record(RESULT)
    page, reported = as_page(kept), json.loads(as_json([kept]))[LLAMA_135M.name]
    (read_rate, _) = read_rates(kept)
    assert read_rate.bytes_per_s == pytest.approx(LLAMA_135M.float32_bytes / 0.020)
    assert "| edge onnx | onnxruntime-genai | 20.0 | 20.0 | 1.75 (1.50–2.00) | 1.90 missed |" in page
    assert "1.75 (1.50–2.00) | 2.00 missed |" in page, "the target of the time to first token is missing"
    assert "26.9%" in page, "the share is not of the faster sweep"
    assert "mlx-lm not installed" in page and "python -m tests.bench" in page
    assert reported["rows"][0]["decode_ratio"] == 1.75 and reported["rows"][0]["edge_times"][0]["first_ms"] == 100.0
    assert "1.90 missed" in as_text(kept)


def test_bytes_that_nobody_knows_make_no_share() -> None:
    times = [Times(1.0, (1.0,))]
    kept = record(Result(Pair(EDGE_INT4, LLAMA_CPP_INT4), times, times))
    assert [read_rate.runtime.name for read_rate in read_rates(kept)] == ["edge onnx:int4", "llama.cpp Q4_0"]
