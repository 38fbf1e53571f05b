"""llama.cpp beside the engines: its logits are those of the same file in torch, and whatever needs sites is refused."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edge.change import Change
from edge.compare.tokenized_text import TokenizedText
from edge.engines.base import Engine
from edge.engines.choice import EngineChoice, engine_of
from edge.engines.registry import open_engine
from edge.profile.measure import VariantRun
from edge.profile.rounds import Workload
from edge.session import Model
from edge.timing import Grain
from edge.variant import Variant, open_variant
from edge.watch import Watch
from models.checkpoint import open_checkpoint
from models.errors import CheckpointError, MisuseError
from tests.bench.checkpoint import SMALL, write_checkpoint
from tests.edge.compare.in_process import compared
from tests.edge.conftest import Said
from tests.real import smollm2_gguf

needs_llama = pytest.mark.skipif(
    find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed; pip compiles it: pip install '.[llama]'"
)

IDS = np.array([5, 3, 1, 2, 40, 17, 9, 9, 61, 4, 33, 20, 7], np.int64)
LOGITS = Watch(parts=(), logits=True)

FRANCE = [504, 3575, 282, 4649, 314]
"""`The capital of France is`, in SmolLM2."""

RECORDED = {7042: 17.3441, 260: 14.8042, 4528: 13.2078, 1315: 13.1494, 5145: 13.1207}
"""The largest logits after it, as `llama-cpp-python` 0.3.36 computed them on another machine."""

ARGMAX = [29, 282, 260, 314, 7042]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama in float32, with weights large enough for logits that differ."""
    pytest.importorskip("gguf")
    from tests.models.sources.converted import write_gguf

    folder = tmp_path_factory.mktemp("models") / "small"
    write_checkpoint(folder, SMALL)
    write_gguf(folder, folder.with_name("small.gguf"), "F32")
    return folder.with_name("small.gguf")


def opened(file: Path) -> Engine:
    return open_engine(engine_of("llama.cpp"), open_checkpoint(file), 1, lambda _: None)


@pytest.fixture
def engine(file: Path) -> Iterator[Engine]:
    """With room for the tokens of one text."""
    engine = opened(file)
    engine.reserve(len(IDS))
    yield engine
    engine.close()


def off_by(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@needs_llama
def test_its_logits_are_torch_s(file: Path, engine: Engine) -> None:
    """Apart from keys and values, which it rounds to float16."""
    with Model(open_checkpoint(file), "torch", 1, lambda _: None) as model:
        wanted = model.logits(IDS.tolist())
    found = engine.feed(IDS, LOGITS).logits
    assert found.shape == wanted.shape and off_by(found, wanted) < 5e-3


@needs_llama
def test_tokens_in_pieces_give_the_logits_of_one_pass(engine: Engine) -> None:
    whole = engine.feed(IDS, LOGITS).logits
    engine.clear()
    pieces = [engine.feed(piece, LOGITS).logits for piece in np.split(IDS, [4, 5, 6, 11])]
    assert off_by(np.concatenate(pieces), whole) < 5e-3 and engine.fed == len(IDS)
    engine.clear()
    assert off_by(engine.feed(IDS, Watch.nothing()).logits, whole[-1:]) < 1e-4, "the last row is not that of all rows"


@needs_llama
def test_a_pass_longer_than_a_batch_is_one_pass(file: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = engine.feed(IDS, LOGITS).logits
    monkeypatch.setattr("edge.engines.llama_cpp_engine.BATCH", 4)
    other = opened(file)
    other.reserve(len(IDS))
    assert off_by(other.feed(IDS, LOGITS).logits, whole) < 5e-3
    other.clear()
    last = other.feed(IDS, Watch.nothing()).logits
    assert last.shape == (1, SMALL.vocab_size) and off_by(last, whole[-1:]) < 5e-3
    other.close()


@needs_llama
def test_a_rewound_engine_repeats_itself(engine: Engine) -> None:
    engine.feed(IDS[:4], LOGITS)
    place = engine.mark()
    first = engine.feed(IDS[4:], LOGITS).logits
    engine.restore(place)
    assert engine.fed == 4
    engine.feed(IDS[:3], LOGITS)
    engine.restore(place)
    assert np.array_equal(engine.feed(IDS[4:], LOGITS).logits, first)


@needs_llama
def test_a_state_that_cannot_go_back_is_computed_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a recurrent layer has it; llama.cpp then removes nothing."""
    monkeypatch.setattr("llama_cpp.llama_memory_seq_rm", lambda *_: False)
    engine.feed(IDS[:4], LOGITS)
    place = engine.mark()
    first = engine.feed(IDS[4:], LOGITS).logits
    engine.restore(place)
    assert engine.fed == 4 and np.array_equal(engine.feed(IDS[4:], LOGITS).logits, first)


@needs_llama
def test_a_longer_cache_keeps_its_content(file: Path, engine: Engine) -> None:
    wanted = engine.feed(IDS, LOGITS).logits
    other = opened(file)
    other.reserve(4)
    other.feed(IDS[:4], LOGITS)
    place = other.mark()
    other.reserve(300)
    assert other.fed == 4
    for _ in range(2):
        assert off_by(other.feed(IDS[4:], LOGITS).logits, wanted[4:]) < 5e-3
        other.restore(place)
    other.close()


@needs_llama
def test_a_row_that_is_given_is_written(engine: Engine) -> None:
    row = np.zeros((1, SMALL.vocab_size), np.float32)
    step = engine.feed(IDS[:5], Watch.nothing(), {"logits": row})
    kept = row.copy()
    engine.feed(IDS[5:], Watch.nothing())
    assert step.logits is row and np.array_equal(row, kept) and row.any(), "a later pass changed the row of this one"


@needs_llama
def test_it_says_what_it_computes_with(file: Path, engine: Engine) -> None:
    assert (engine.name, engine.threads, engine.float_bytes) == ("llama.cpp", 1, 2)
    assert engine.weights_bytes == open_checkpoint(file).stored_bytes and list(engine.versions) == ["llama-cpp-python"]
    assert 0 < file.stat().st_size - engine.weights_bytes < 10_000, "the header of the file is small"
    assert engine.allocator_peak_bytes is None and engine.feed_without(IDS, 1) == {}


@needs_llama
def test_it_prints_nothing(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    engine = opened(file)
    engine.reserve(64)
    engine.feed(IDS, LOGITS)
    engine.close()
    assert capfd.readouterr() == ("", "")


@needs_llama
def test_what_needs_sites_is_refused(engine: Engine) -> None:
    one = np.ones((1, 1), np.float32)
    for refused in (
        lambda: engine.ready(Watch.all(), False),
        lambda: engine.ready(LOGITS, True),
        lambda: engine.feed(IDS, Watch(parts=("attn.output",))),
        lambda: engine.feed(IDS, LOGITS, changes={"layers.0.output": Change(one, one)}),
        lambda: engine.feed_instrumented(IDS, 1, Grain.PART),
    ):
        with pytest.raises(MisuseError, match=r"llama\.cpp gives logits only.*onnx, torch, mlx"):
            refused()
    assert engine.fed == 0


@needs_llama
def test_a_file_that_it_cannot_load_is_one_message(file: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "small.gguf"
    damaged.write_bytes(file.read_bytes())
    checkpoint = open_checkpoint(damaged)
    damaged.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(CheckpointError, match=r"llama\.cpp cannot load .*small\.gguf: .*; open it with an engine"):
        open_engine(engine_of("llama.cpp"), checkpoint, 1, lambda _: None)


@needs_llama
def test_it_stands_beside_an_engine(file: Path) -> None:
    checkpoint = open_checkpoint(file)
    text = TokenizedText("ids", tuple(IDS.tolist()))
    found = compared([(checkpoint, "torch"), (checkpoint, "llama.cpp")], text)
    (beside,) = found.variants
    assert beside.predictions.top1_agreement == 1 and 0 < beside.predictions.kl_max_nats < 1e-4
    assert beside.first_divergent_token is None and beside.sites == {} and not beside.has_sites
    assert beside.memory.kv_bytes == found.reference.memory.kv_bytes // 2
    assert beside.memory.weights_memory_bytes == found.reference.memory.weights_memory_bytes
    assert beside.memory.weights_bytes == found.reference.memory.weights_bytes


@needs_llama
def test_it_is_timed_from_outside_only(file: Path) -> None:
    checkpoint, workload = open_checkpoint(file), Workload(4, 8, 3)
    with open_variant(Variant(file, "llama.cpp", 1), lambda _: None) as process:
        run = VariantRun(process, checkpoint, 0)
        run.run_round(workload)
        run.record_memory([workload])
        found = run.result([workload])
    (at,) = found.depths
    assert not run.has_sites and at.passes == () and len(at.rounds) == 1
    assert len(at.rounds[0].inter_token_ms) == 3 and at.rounds[0].prefill_ms > 0


@needs_llama
def test_a_prompt_runs(file: Path, said: Said) -> None:
    code, out, err = said("run", file, "--ids", "5,3,1", "-n", 4, "-e", "llama.cpp")
    assert code == 0 and len(out.split()) == 4 and "llama.cpp" in err, err


@needs_llama
def test_published_logits_come_out() -> None:
    """Sums have another order on another machine. In its own process, which ends if llama.cpp crashes."""
    with open_variant(Variant(smollm2_gguf(), "llama.cpp", 1), lambda _: None) as process:
        logits = process.call(Model.logits, FRANCE)
    assert logits.argmax(axis=-1).tolist() == ARGMAX
    np.testing.assert_allclose(logits[-1][list(RECORDED)], list(RECORDED.values()), atol=0.2)


def test_it_has_a_name_and_no_precision() -> None:
    assert engine_of("llama.cpp") == EngineChoice("llama.cpp") and str(engine_of("llama.cpp")) == "llama.cpp"
    assert not engine_of("llama.cpp").has_sites and engine_of("onnx:int4").has_sites
    for text, message in (
        ("llama.cpp:int4", r"as they are; leave out ':int4'"),
        ("llama.cpp+cuda", "only onnx takes a provider"),
        ("llama_cpp", r"did you mean 'llama\.cpp'"),
    ):
        with pytest.raises(MisuseError, match=message):
            engine_of(text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("trace", "any.gguf", "text", "-o", "x.trace"),
        ("look", "any.gguf"),
        ("lab", "any.gguf"),
        ("run", "any.gguf", "text", "--time"),
        ("profile", "any.gguf", "--sparsity"),
        ("compare", "any.gguf", "-e", "onnx", "--tensors"),
    ],
)
def test_commands_that_look_inside_refuse_it(arguments: tuple[str, ...], said: Said) -> None:
    code, out, err = said(*arguments, "-e", "llama.cpp")
    assert code == 2 and not out and len(err.splitlines()) == 1, err
    assert "shows what happens inside a model, and llama.cpp gives logits only; use an engine: onnx, torch, mlx" in err


@pytest.mark.parametrize("command", [("run", "--ids", "1,2"), ("compare", "-e", "torch"), ("profile",)])
def test_another_checkpoint_is_refused(command: tuple[str, ...], byte_llama: Path, said: Said) -> None:
    name, *options = command
    code, out, err = said(name, byte_llama, *options, "-e", "llama.cpp")
    assert code == 2 and not out and len(err.splitlines()) == 1, err
    assert "llama.cpp runs GGUF files, and byte-llama is none; give a .gguf file" in err


@pytest.mark.parametrize(
    "command", [("run", "--ids", "1,2"), ("compare", "-e", "torch", "--ids", "1,2,3"), ("profile",)]
)
def test_its_absence_names_the_command_that_installs_it(
    command: tuple[str, ...], file: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.engines.registry.find_spec", lambda package: None)
    name, *options = command
    code, out, err = said(name, file, *options, "-e", "llama.cpp")
    assert code == 1 and not out and len(err.splitlines()) == 1, err
    assert "'llama-cpp-python', which is not installed: pip install 'edge-lens[llama]'" in err
