"""The ONNX engine: torch's numbers, from shared buffers that grow, whether watched or not."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from weakref import ref

import ml_dtypes
import numpy as np
import pytest

from edge.change import Change
from edge.engines.choice import EngineChoice
from edge.engines.onnx_engine import OnnxEngine, passes_by_part
from edge.engines.torch_engine import TorchEngine
from edge.timing import Grain
from edge.watch import Watch
from models.errors import EdgeError
from models.parts import sublayer_of
from models.sites import LOGITS
from tests.scopes import scopes_of
from tests.tiny import TINY_SPECS, FakeCheckpoint, tiny_checkpoint, tiny_weights

CLOSE = 5e-5
"""Largest difference between two float32 engines, relative to the largest value of a site."""

ALL, NOTHING = Watch.all(), Watch.nothing()
PASSES = ((0, 6), (6, 10), (10, 11), (11, 12), (12, 20), (20, 21))
"""A first pass, one that follows it, single tokens, and the same once the buffers have grown."""


def engine_of(name: str) -> OnnxEngine:
    return OnnxEngine(tiny_checkpoint(name), EngineChoice("onnx"), 2, lambda _: None)


@pytest.fixture(params=TINY_SPECS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def onnx(name: str) -> Iterator[OnnxEngine]:
    engine = engine_of(name)
    yield engine
    engine.close()


@pytest.fixture
def ids(name: str) -> np.ndarray:
    return np.random.default_rng(3).integers(0, TINY_SPECS[name].vocab_size, 21)


def off_by(got: np.ndarray, want: np.ndarray) -> float:
    assert got.shape == want.shape and got.dtype == want.dtype == np.float32
    return float(np.abs(got - want).max() / max(1e-6, float(np.abs(want).max())))


def test_every_pass_is_torchs_while_buffers_grow_and_sessions_alternate(
    name: str, onnx: OnnxEngine, ids: np.ndarray
) -> None:
    torch = TorchEngine(tiny_checkpoint(name), EngineChoice("torch"), None)
    for engine in (onnx, torch):
        engine.reserve(12)
    for number, (start, end) in enumerate(PASSES):
        if end > 12:
            onnx.reserve(23)
            torch.reserve(23)
        watch = ALL if number % 2 else NOTHING
        got, want = onnx.feed(ids[start:end], watch), torch.feed(ids[start:end], ALL)
        rows = want.logits if watch is ALL else want.logits[-1:]
        assert off_by(got.logits, rows) < CLOSE, f"tokens {start} to {end - 1}: other logits than torch's"
        assert set(got.sites) == (set(want.sites) if watch is ALL else set())
        for site, value in got.sites.items():
            assert off_by(value, want.sites[site]) < CLOSE, f"tokens {start} to {end - 1}: {site} is not torch's"
    assert onnx.fed == torch.fed == 21


def test_looking_is_the_same_before_a_change_and_after_it(onnx: OnnxEngine, ids: np.ndarray) -> None:
    """Changes need another session, which stays and does the looking."""
    onnx.reserve(21)
    change = {"layers.1.ffn.output": Change(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))}
    seen = []
    for changes in ({}, change, {}):
        onnx.clear()
        seen.append(onnx.feed(ids, ALL, changes=changes).sites)
    assert not seen[1]["layers.1.ffn.output"].any(), "a ablated FFN still adds something"
    for site, value in seen[0].items():
        assert np.array_equal(value, seen[2][site]), f"{site} is another once something was changed"


def test_a_rewound_engine_repeats_itself(onnx: OnnxEngine, ids: np.ndarray) -> None:
    onnx.reserve(21)
    first = [onnx.feed(ids[:7], NOTHING).logits]
    seven = onnx.mark()
    first.append(onnx.feed(ids[7:9], ALL).logits)
    onnx.restore(seven)
    assert np.array_equal(onnx.feed(ids[7:9], ALL).logits, first[1]), "other logits after going back two tokens"
    onnx.clear()
    onnx.feed(ids[9:20], NOTHING)
    onnx.clear()
    assert np.array_equal(onnx.feed(ids[:7], NOTHING).logits, first[0]), "tokens of a forgotten text still count"


def test_only_what_is_watched_is_computed_into_arrays(onnx: OnnxEngine, ids: np.ndarray) -> None:
    onnx.reserve(21)
    some = onnx.feed(ids[:5], Watch(parts=("attn.query", "ffn.neurons"), layers=(1,)))
    assert list(some.sites) == ["layers.1.attn.query", "layers.1.ffn.neurons"]
    assert some.logits.shape == (1, onnx.spec.vocab_size)
    kept = some.sites["layers.1.attn.query"].copy()
    onnx.clear()
    onnx.feed(ids[5:10], Watch(parts=("attn.query",), layers=(1,)))
    assert np.array_equal(some.sites["layers.1.attn.query"], kept), "a later pass wrote into an earlier step"


@pytest.mark.parametrize("copied_bytes", [0, 1 << 15], ids=["written in place", "copied"])
def test_a_row_that_is_given_is_written_by_every_pass_and_not_held(
    onnx: OnnxEngine, ids: np.ndarray, monkeypatch: pytest.MonkeyPatch, copied_bytes: int
) -> None:
    monkeypatch.setattr("edge.engines.onnx_session._COPIED_BYTES", copied_bytes)
    onnx.reserve(21)
    want = [onnx.feed(ids[at : at + 1], NOTHING).logits for at in range(4)]
    onnx.clear()
    rows = [np.empty_like(want[0]) for _ in range(2)]
    for at, which in enumerate((0, 0, 1, 0)):
        rows[which].fill(np.nan)
        step = onnx.feed(ids[at : at + 1], NOTHING, {LOGITS: rows[which]})
        assert step.logits is rows[which] and np.array_equal(step.logits, want[at]), f"token {at} is not in its row"
    held = [ref(row) for row in rows]
    del rows, step
    assert [row() for row in held] == [None, None], "an engine keeps arrays of others alive"


@pytest.mark.parametrize("grain", Grain)
def test_instrumented_passes_name_every_sublayer_and_leave_no_trace(
    name: str,
    onnx: OnnxEngine,
    ids: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    grain: Grain,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    onnx.reserve(21)
    onnx.feed(ids[:8], NOTHING)
    eight = onnx.mark()
    after = onnx.feed(ids[8:9], NOTHING).logits
    onnx.restore(eight)
    passes = onnx.feed_instrumented(ids[8:9], 3, grain)
    assert len(passes) == 3
    for took_ns in passes:
        assert set(took_ns) <= scopes_of(onnx.spec, grain) | {"other"}
        assert {sublayer_of(scope) for scope in took_ns} == scopes_of(onnx.spec, Grain.SUBLAYER) | {"other"}
    assert onnx.fed == 8, "timing fed the engine"
    assert np.array_equal(onnx.feed(ids[8:9], NOTHING).logits, after), "timing changed what the engine remembers"
    assert list(tmp_path.iterdir()) == [], "a profile was left behind"


def test_a_profile_is_summed_by_pass_and_part() -> None:
    def node(name: str, took_us: int) -> dict[str, object]:
        return {"cat": "Node", "name": f"{name}_kernel_time", "dur": took_us}

    ran: dict[str, object] = {"cat": "Session", "name": "model_run", "dur": 99}
    loaded: dict[str, object] = {"cat": "Session", "name": "model_loading_uri", "dur": 5}
    up = [node("layers.0.ffn.up|Gemm|9", 3), node("fused layers.0.ffn.up|Gemm|10", 4)]
    first = [node("embed|Gather|0", 2), *up, ran]
    passes = passes_by_part([loaded, *first, node("Unnamed_7", 5), ran])
    assert passes == [{"embed": 2e3, "layers.0.ffn.up": 7e3}, {"other": 5e3}]


@pytest.mark.parametrize("stored", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_weights_run_as_the_float32_they_stand_for(stored: type) -> None:
    spec = TINY_SPECS["neox-full-rotary-relu"]
    half: dict[str, np.ndarray] = {name: weight.astype(stored) for name, weight in tiny_weights(spec, 0).items()}
    rounded = {name: weight.astype(np.float32) for name, weight in half.items()}
    logits = []
    for weights in (half, rounded):
        engine = OnnxEngine(FakeCheckpoint(spec, weights), EngineChoice("onnx"), 1, lambda _: None)
        engine.reserve(4)
        logits.append(engine.feed(np.arange(4), NOTHING).logits)
        engine.close()
    assert np.array_equal(logits[0], logits[1])


def test_a_graph_that_the_runtime_refuses_is_one_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tiny_checkpoint("neox-full-rotary-relu")
    absent = {name: weight for name, weight in checkpoint.weights.items() if name != "head.norm.weight"}
    monkeypatch.setattr("edge.engines.onnx_session.session_values", lambda *_: iter(absent.items()))
    with pytest.raises(EdgeError, match=r"ONNX Runtime .* cannot open the graph .*fast\.onnx.*delete"):
        OnnxEngine(checkpoint, EngineChoice("onnx"), 1, lambda _: None)


def test_a_prepared_checkpoint_runs_without_torch_and_onnx() -> None:
    engine_of("neox-full-rotary-relu").close()  # prepares the graphs
    code = """
import sys
for package in ("torch", "onnx", "onnxscript", "onnx_ir"):
    sys.modules[package] = None
import numpy as np
from edge.engines.choice import EngineChoice
from edge.engines.onnx_engine import OnnxEngine
from edge.watch import Watch
from tests.tiny import tiny_checkpoint
engine = OnnxEngine(tiny_checkpoint("neox-full-rotary-relu"), EngineChoice("onnx"), 1, print)
engine.reserve(4)
print(sorted(engine.feed(np.arange(4), Watch(parts=("ffn.neurons",))).sites))
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "layers.0.ffn.neurons" in done.stdout and "export" not in done.stdout
