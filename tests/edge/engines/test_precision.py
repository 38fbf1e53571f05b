"""One set of rounded weights, three engines: what torch computes from the numbers that codes stand for, all compute."""

from pathlib import Path

import numpy as np
import pytest

from edge.engines.choice import EngineChoice, engine_of
from edge.engines.onnx_engine import OnnxEngine
from edge.session import Model, load
from edge.watch import Watch
from export.quantizing import prepare_quantized
from models.cache_folder import cache_folder
from models.errors import MisuseError
from models.precision import FP32, Float, Scheme, Zero, precision_of
from models.sites import sites_of
from tests.reference import REFERENCES, write_reference
from tests.tiny import TINY_SPECS, tiny_checkpoint

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]
CLOSE = 5e-5
"""Largest difference of float32 arithmetic in another order, as a share of the largest value."""

EXACT = ["int4-acc0", "int8-g128-sym-acc0"]
"""A zero per group and the middle, small groups and large, both widths; activations as they are."""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path_factory.getbasetemp() / "precision-cache"))


def opened(name: str, engine: str) -> Model:
    return Model(tiny_checkpoint(name), engine, 1, lambda _: None)


def off_by(found: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(found - want).max() / max(1e-6, np.abs(want).max()))


@pytest.mark.parametrize("precision", EXACT)
@pytest.mark.parametrize("engine", ["onnx", "mlx"])
@pytest.mark.parametrize("name", TINY_SPECS)
def test_quantized_weights_are_the_same_in_every_engine(name: str, engine: str, precision: str) -> None:
    """Every site of a whole run, prompt and decoding, beside torch on the numbers that the codes stand for."""
    with opened(name, f"torch:{precision}") as model:
        want = model.run(ids=PROMPT, max_new_tokens=4, watch=Watch.all(), stop_tokens=())
    with opened(name, f"{engine}:{precision}") as model:
        found = model.run(ids=PROMPT, max_new_tokens=4, watch=Watch.all(), stop_tokens=())
        unwatched = model.run(ids=PROMPT, max_new_tokens=4, stop_tokens=())
    assert found.engine == f"{engine}:{precision}" and found.tokens == unwatched.tokens == want.tokens
    for site in sites_of(want.spec):
        worst = off_by(found.site(site), want.site(site))
        assert worst < CLOSE, f"{found.engine} leaves torch first at {site}: off by {worst:.2g}"


@pytest.mark.parametrize("name", ["llama-shared-heads-tied", "neox-full-rotary-relu"])
def test_rounding_changes_the_model_and_eight_bits_change_it_less(name: str) -> None:
    logits = {}
    for engine in ("torch", "torch:int8", "torch:int4"):
        with opened(name, engine) as model:
            logits[engine] = model.logits(PROMPT)
    eight, four = (off_by(logits[engine], logits["torch"]) for engine in ("torch:int8", "torch:int4"))
    assert 1e-5 < 5 * eight < four < 1, f"8 bits move the logits by {eight:.2g}, 4 bits by {four:.2g}"


@pytest.mark.parametrize("name", ["llama-shared-heads-tied", "neox-full-rotary-relu"])
def test_products_in_whole_numbers_are_near_those_in_float32(name: str) -> None:
    """accuracy_level 4 rounds activations too: near, and not the same."""
    with opened(name, "onnx:int4") as model:
        fast = model.logits(PROMPT)
    with opened(name, "onnx:int4-acc0") as model:
        exact = model.logits(PROMPT)
    assert 1e-6 < off_by(fast, exact) < 0.1, f"activations in 8 bits move the logits by {off_by(fast, exact):.2g}"


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
@pytest.mark.parametrize("engine", ["torch", "mlx"])
@pytest.mark.parametrize("name", TINY_SPECS)
def test_half_precision_stays_near_float32(name: str, engine: str, kind: str) -> None:
    """Every site; bfloat16 keeps 8 bits of a number, float16 keeps 11."""
    with opened(name, "torch") as model:
        want = model.run(ids=PROMPT, max_new_tokens=0, watch=Watch.all())
    with opened(name, f"{engine}:{kind}") as model:
        found = model.run(ids=PROMPT, max_new_tokens=0, watch=Watch.all())
    bound = {"bf16": 0.1, "fp16": 0.02}[kind]
    for site in sites_of(want.spec):
        worst = off_by(found.site(site), want.site(site))
        assert worst < bound, f"{found.engine} leaves float32 first at {site}: off by {worst:.2g}"
    assert off_by(found.site("logits"), want.site("logits")) > 1e-5, "half precision was not half precision"


@pytest.mark.parametrize("name", ["llama-shared-heads-tied", "gpt2-learned-positions-tied", "norms-around-caps"])
def test_graphs_in_float16_are_near_float32(name: str) -> None:
    """Meant for providers with kernels for it; the CPU has them for attention, and casts around the rest."""
    with opened(name, "torch") as model:
        want = model.run(ids=PROMPT, max_new_tokens=0, watch=Watch.all())
    engine = OnnxEngine(tiny_checkpoint(name), EngineChoice("onnx", Float("fp16")), 1, lambda _: None)
    engine.reserve(len(PROMPT))
    ids = np.array(PROMPT)
    steps = [engine.feed(ids[:7], Watch.all()), engine.feed(ids[7:], Watch.all())]
    engine.close()
    for site in sites_of(want.spec):
        rows = [step.logits if site == "logits" else step.sites[site] for step in steps]
        worst = off_by(np.concatenate(rows), want.site(site))
        assert worst < 0.02, f"onnx in float16 leaves float32 first at {site}: off by {worst:.2g}"


def test_weights_are_quantized_once_for_all_engines_and_again_when_they_change(tmp_path: Path) -> None:
    folder = tmp_path / "llama"
    write_reference(REFERENCES["llama-linear-scaling"](), folder)
    said: list[str] = []
    for engine in ("torch:int4", "mlx:int4", "onnx:int4", "onnx:int4-acc0"):
        load(folder, engine, threads=1, progress=said.append).close()
    quantized = [line for line in said if line.startswith("quantizing to 4 bits: matrix 1 of")]
    assert len(quantized) == 1, f"four engines quantized the weights {len(quantized)} times"
    before = set(cache_folder("weights").iterdir())
    write_reference(REFERENCES["llama-linear-scaling"](), folder)
    load(folder, "torch:int4", threads=1).close()
    assert len(set(cache_folder("weights").iterdir()) - before) == 1, "changed weights were taken for the old ones"


@pytest.mark.parametrize("keep", ["head", "embed", "layers.0.*"])
@pytest.mark.parametrize("engine", ["onnx", "mlx"])
def test_matrices_that_are_kept_are_run_beside_quantized_ones(engine: str, keep: str) -> None:
    checkpoint = tiny_checkpoint("llama-one-kv-head-odd-sizes")
    quantized = prepare_quantized(checkpoint, Scheme(4, 32, Zero.WHOLE), lambda _: None, (keep,))
    with Model(quantized, "torch", 1, lambda _: None) as model:
        want = model.logits(PROMPT)
    with Model(quantized, f"{engine}:int4-acc0", 1, lambda _: None) as model:
        worst = off_by(model.logits(PROMPT), want)
    assert worst < CLOSE, f"{engine} with '{keep}' kept is off by {worst:.2g}"


def test_damaged_quantized_weights_are_quantized_anew() -> None:
    with opened("neox-full-rotary-relu", "torch:int8-g64") as model:
        want = model.logits(PROMPT)
    newest = max(cache_folder("weights").rglob("*.safetensors"), key=lambda file: file.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:-10])
    with opened("neox-full-rotary-relu", "torch:int8-g64") as model:
        assert np.array_equal(model.logits(PROMPT), want)


def test_a_full_or_read_only_cache_is_one_clear_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "file"))
    with pytest.raises(Exception, match=r"cannot be written.*EDGE_CACHE"):
        opened("neox-full-rotary-relu", "torch:int4")


def test_engines_are_spelled_with_their_precision() -> None:
    assert engine_of("onnx") == EngineChoice("onnx", FP32, "cpu") == engine_of("onnx:fp32") == engine_of("onnx+cpu")
    assert engine_of("mlx:int4-sym") == EngineChoice("mlx", precision_of("int4-sym"))
    assert engine_of("onnx+cuda:int8") == EngineChoice("onnx", precision_of("int8"), "cuda")
    for text in ("onnx", "torch:bf16", "onnx+coreml:fp16", "onnx+cuda:int4-g64"):
        assert str(engine_of(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("onnx:bf16", "engine 'onnx' has no kernels for bf16; it runs fp32, int4, int8"),
        ("onnx:fp16", "engine 'onnx' has no kernels for fp16"),
        ("onnx:", "no precision ''"),
        ("ort:int4", "did you mean 'onnx'"),
        ("torch:int7", "no precision 'int7'"),
        ("torch+cuda", r"no engine 'torch\+cuda'; only onnx takes a provider: onnx\+cpu, onnx\+cuda"),
        ("onnx+tpu", r"no engine 'onnx\+tpu'"),
    ],
)
def test_an_engine_that_cannot_be_is_refused_with_the_way_out(text: str, said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        engine_of(text)


@pytest.mark.parametrize("precision", ["int3", "int6-g16-sym", "int4-g16", "mixed"])
def test_float_weights_are_not_quantized_to_precisions_of_stored_weights(precision: str) -> None:
    with pytest.raises(MisuseError, match=f"weights cannot be quantized to {precision}, .*; use int4 or int8"):
        opened("neox-full-rotary-relu", f"torch:{precision}")


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_this_onnxruntime_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what there is, and the name of the build that has it; one that does not start is an error."""
    with pytest.raises(MisuseError, match=r"supports cpu, not directml; .*onnxruntime-directml"):
        opened("neox-full-rotary-relu", "onnx+directml")
    monkeypatch.setattr(
        "onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    with pytest.raises(MisuseError, match="provider 'cuda' does not start"):
        opened("neox-full-rotary-relu", "onnx+cuda")
