"""The MLX engine keeps to what every engine promises, by both of its ways to compute and to time."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread, get_ident

import numpy as np
import pytest

from edge.engines.choice import EngineChoice
from edge.timing import Grain
from edge.watch import Watch
from models.parts import sublayer_of
from models.sites import sites_of
from tests.scopes import scopes_of
from tests.tiny import TINY_SPECS, FakeCheckpoint, tiny_checkpoint

mx = pytest.importorskip("mlx.core", reason="needs mlx, which is not installed here")

from edge.engines import mlx_engine  # noqa: E402
from edge.engines.mlx_clocks import time_by_chains  # noqa: E402
from edge.engines.mlx_engine import MlxEngine  # noqa: E402

ROOT = Path(__file__).parents[3]
IDS = np.array([3, 1, 41, 59, 26, 5, 35, 8, 9], np.int64)


@pytest.fixture(params=TINY_SPECS)
def engine(request: pytest.FixtureRequest) -> Iterator[MlxEngine]:
    opened = MlxEngine(tiny_checkpoint(request.param), EngineChoice("mlx"), threads=1)
    opened.reserve(len(IDS))
    yield opened
    opened.close()


def test_it_says_what_it_computes_with(engine: MlxEngine) -> None:
    assert engine.name == "mlx" and engine.threads == 1
    assert engine.versions.keys() >= {"mlx"} and all(engine.versions.values())


def test_only_the_last_token_has_logits_unless_all_are_watched(engine: MlxEngine) -> None:
    last = engine.feed(IDS, Watch.nothing())
    assert last.logits.shape == (1, engine.spec.vocab_size) and last.logits.dtype == np.float32
    assert not last.sites, f"nothing was recorded, yet {next(iter(last.sites))} came back"
    engine.clear()
    watched = engine.feed(IDS, Watch.all())
    assert watched.logits.shape == (len(IDS), engine.spec.vocab_size)
    assert np.allclose(watched.logits[-1], last.logits[0], rtol=0, atol=1e-5), "watching changed the last logits"


def test_a_watched_pass_has_every_site_with_a_row_a_token(engine: MlxEngine) -> None:
    sites = {name: site for name, site in sites_of(engine.spec).items() if site.layer is not None}
    seen = engine.feed(IDS, Watch.all()).sites
    assert seen.keys() == sites.keys()
    for name, values in seen.items():
        wanted = (len(IDS), *sites[name].row_shape)
        assert values.shape == wanted and values.dtype == np.float32, f"{name} is {values.shape}, not {wanted}"
        assert type(values) is np.ndarray, f"{name} is {type(values)}; numpy alone leaves an engine"


def test_a_rewound_engine_repeats_itself(engine: MlxEngine) -> None:
    engine.feed(IDS[:5], Watch.nothing())
    five = engine.mark()
    first = engine.feed(IDS[5:], Watch.nothing()).logits
    engine.restore(five)
    assert engine.fed == 5
    assert np.array_equal(engine.feed(IDS[5:], Watch.nothing()).logits, first), "tokens after a rewind see leftovers"


@pytest.mark.parametrize("grain", Grain)
@pytest.mark.parametrize("tokens", [1, 4])
def test_an_instrumented_pass_times_every_scope_and_leaves_no_trace(
    engine: MlxEngine, tokens: int, grain: Grain
) -> None:
    engine.feed(IDS[:5], Watch.nothing())
    passes = engine.feed_instrumented(IDS[5 : 5 + tokens], repeats=2, grain=grain)
    assert len(passes) == 2 and engine.fed == 5
    for took_ns in passes:
        assert set(took_ns) <= scopes_of(engine.spec, grain) | {"other"}
        assert {sublayer_of(scope) for scope in took_ns} == scopes_of(engine.spec, Grain.SUBLAYER) | {"other"}
        assert all(took > 0 for took in took_ns.values())
    after = engine.feed(IDS[5:], Watch.nothing()).logits
    engine.clear()
    assert np.allclose(after, engine.feed(IDS, Watch.nothing()).logits, rtol=0, atol=1e-4), "timing left keys behind"


@pytest.mark.parametrize("grain", Grain)
def test_chains_time_every_scope(engine: MlxEngine, grain: Grain) -> None:
    engine.feed(IDS[:5], Watch.nothing())
    took_ns = time_by_chains(engine._decoder, engine._cache, mx.array(IDS[5:]), grain)
    assert set(took_ns) <= scopes_of(engine.spec, grain) and all(took >= 0 for took in took_ns.values())
    assert {sublayer_of(scope) for scope in took_ns} == scopes_of(engine.spec, Grain.SUBLAYER)
    assert engine.fed == 5, "timing counts tokens as fed"


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_weights_stored_in_half_precision_are_computed_with_in_float32(stored: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    whole = tiny_checkpoint("llama-shared-heads-tied")
    dtype = np.dtype(getattr(ml_dtypes, stored, stored))
    halved = {name: array.astype(dtype) for name, array in whole.weights.items()}
    widened = {name: array.astype(np.float32) for name, array in halved.items()}
    logits = []
    for weights in (halved, widened):
        engine = MlxEngine(FakeCheckpoint(whole.spec, weights), EngineChoice("mlx"), threads=1)
        engine.reserve(len(IDS))
        logits.append(engine.feed(IDS, Watch.nothing()).logits)
        engine.close()
    assert np.array_equal(*logits)


def test_streams_end_with_their_thread_even_if_the_engine_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    ended_on: list[int] = []
    monkeypatch.setattr(mlx_engine.mx, "clear_streams", lambda: ended_on.append(get_ident()))

    def work() -> None:
        engines = [MlxEngine(tiny_checkpoint("layers-that-differ"), EngineChoice("mlx"), threads=1) for _ in range(2)]
        engines[0].close()
        assert not ended_on, "closing one engine ends the streams of another on its thread"

    thread = Thread(target=work)
    thread.start()
    its_own = thread.ident
    thread.join()
    assert ended_on == [its_own], "MLX streams outlive their thread, which aborts some processes as they exit"


def in_a_fresh_process(program: str) -> str:
    """What a program prints; MLX finds its BLAS once in the life of a process."""
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_mlx_is_imported_after_a_fast_blas_and_with_whole_float32() -> None:
    program = """
import os, sys
from edge.engines.blas import blas_behind_mlx
before = blas_behind_mlx()
assert "mlx.core" not in sys.modules, "asking which BLAS there is imports MLX"
import edge.engines.mlx_engine
assert os.environ["MLX_ENABLE_TF32"] == "0"
assert blas_behind_mlx() == before, "importing MLX changed its BLAS"
print(before)
"""
    assert in_a_fresh_process(program)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a choice of BLAS")
def test_an_mlx_imported_first_is_said_to_have_the_slow_blas() -> None:
    program = """
import mlx.core
from edge.engines.blas import NETLIB, blas_behind_mlx, set_blas_threads
print(blas_behind_mlx() == NETLIB, set_blas_threads(2))
"""
    assert in_a_fresh_process(program) == "True 1"


def test_without_mlx_the_message_names_the_command_that_installs_it() -> None:
    program = """
import sys
sys.modules["mlx.core"] = None
from models.errors import MissingPackageError
try:
    import edge.engines.mlx_engine
except MissingPackageError as error:
    print(error)
"""
    assert "pip install 'edge-lens[mlx]'" in in_a_fresh_process(program)
