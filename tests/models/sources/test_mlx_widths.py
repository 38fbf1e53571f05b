"""Every width, size of groups and mode that mlx-lm writes is read exactly, in one file too; other modes are refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from transformers import LlamaConfig

from edge.session import load
from models.checkpoint import open_checkpoint
from models.errors import SpecError
from models.precision import Scheme, Zero
from tests.mlx_quantized import by_mlx_lm, change_config, quantize
from tests.models.families.test_stored_experts import as_mlx_lm, rewritten
from tests.reference import write_reference
from tests.reference_mixtures import MIXTURES

mx = pytest.importorskip("mlx.core")

IDS = [3, 1, 4, 1, 5, 9, 2, 6]


def write_llama(folder: Path) -> Path:
    """A Llama whose matrices fill groups of 128."""
    config = LlamaConfig(
        vocab_size=96, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, pad_token_id=None, rope_theta=10_000.0,
    )  # fmt: skip
    write_reference(config, folder)
    keys = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(keys | {"rope_theta": 10_000.0}))  # mlx-lm wants it stated
    return folder


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_weights_are_those_of_mlx_in_every_width(tmp_path: Path, bits: int, group: int) -> None:
    """From the codes that MLX unpacks: MLX rounds some products twice."""
    quantize(write_llama(tmp_path), bits, group)
    tensors, held = load_file(tmp_path / "model.safetensors"), open_checkpoint(tmp_path)
    for name, module in (("layers.1.ffn.down", "model.layers.1.mlp.down_proj"), ("embed", "model.embed_tokens")):
        words, scales, biases = (tensors[f"{module}.{part}"] for part in ("weight", "scales", "biases"))
        one, none = mx.ones(scales.shape), mx.zeros(scales.shape)
        codes = np.array(mx.dequantize(mx.array(words), one, none, group_size=group, bits=bits))
        factors, offsets = (np.repeat(part.astype(np.float32), group, axis=1) for part in (scales, biases))
        assert np.array_equal(held.weights[f"{name}.weight"], codes * factors + offsets)
        assert held.quantized.kinds[f"{name}.weight"] == f"mlx {bits} bits, groups of {group}"
        assert held.quantized.schemes[f"{name}.weight"] == Scheme(bits, group, Zero.OFFSET)


def test_modules_may_differ(tmp_path: Path) -> None:
    """By entries of the config, which may also say that a module is dense; or without them, by the shapes."""
    chosen = {"down_proj": {"bits": 6, "group_size": 32}, "q_proj": {"bits": 3, "group_size": 128}, "o_proj": False}
    model = by_mlx_lm(
        write_llama(tmp_path / "published"),
        tmp_path / "mixed",
        group_size=64,
        bits=4,
        quant_predicate=lambda path, module: chosen.get(path.rpartition(".")[2], True),
    )
    want = np.array(model(mx.array([IDS]))[0].astype(mx.float32))
    table = json.loads((tmp_path / "mixed" / "config.json").read_text())["quantization"]
    assert "model.layers.0.mlp.down_proj" in table
    for said in (table, table | {"model.layers.0.self_attn.o_proj": False}, {"bits": 8, "group_size": 32}):
        change_config(tmp_path / "mixed", quantization=said, quantization_config=said)
        with load(tmp_path / "mixed", "torch", threads=1) as opened:
            kinds = opened.checkpoint.quantized.kinds
            worst = float(np.abs(opened.logits(IDS) - want).max())
        assert kinds["layers.0.ffn.down.weight"] == "mlx 6 bits, groups of 32"
        assert kinds["layers.1.attn.query.weight"] == "mlx 3 bits, groups of 128"
        assert kinds["head.weight"] == "mlx 4 bits, groups of 64" and "layers.0.attn.out.weight" not in kinds
        assert worst < 1e-4 * max(1.0, float(np.abs(want).max())), f"torch leaves mlx-lm by {worst:.2g}"


def test_mxfp4_is_read_exactly(tmp_path: Path) -> None:
    model = by_mlx_lm(write_llama(tmp_path / "published"), tmp_path / "mxfp4", group_size=32, bits=4, mode="mxfp4")
    held, tensors = open_checkpoint(tmp_path / "mxfp4"), load_file(tmp_path / "mxfp4" / "model.safetensors")
    assert set(held.quantized.kinds.values()) == {"mxfp4"}
    module = "model.layers.0.mlp.up_proj"
    parts = (mx.array(tensors[f"{module}.{part}"]) for part in ("weight", "scales"))
    want = np.array(mx.dequantize(*parts, group_size=32, bits=4, mode="mxfp4").astype(mx.float32))
    assert np.array_equal(held.weights["layers.0.ffn.up.weight"], want)
    logits = np.array(model(mx.array([IDS]))[0].astype(mx.float32))
    with load(tmp_path / "mxfp4", "torch", threads=1) as opened:
        worst = float(np.abs(opened.logits(IDS) - logits).max())
    assert worst < 1e-4 * max(1.0, float(np.abs(logits).max())), f"torch leaves mlx-lm by {worst:.2g}"


def test_every_float_of_mxfp4_is_that_of_mlx(tmp_path: Path) -> None:
    """All 16 floats with all finite scales."""
    quantize(write_llama(tmp_path), 4)
    tensors, module = load_file(tmp_path / "model.safetensors"), "model.layers.0.mlp.up_proj"
    words = np.random.default_rng(0).integers(0, 1 << 32, (256, 16), np.uint32)
    scales = np.arange(1024, dtype=np.uint32).reshape(256, 4) % 250
    del tensors[f"{module}.biases"]
    tensors |= {f"{module}.weight": words, f"{module}.scales": scales.astype(np.uint8)}
    save_file(tensors, tmp_path / "model.safetensors")
    read = open_checkpoint(tmp_path).weights["layers.0.ffn.up.weight"]
    parts = mx.array(words), mx.array(scales.astype(np.uint8))
    want = mx.dequantize(*parts, group_size=32, bits=4, mode="mxfp4").astype(mx.float32)
    assert np.array_equal(read, np.array(want))


@pytest.mark.parametrize("mode", ["nvfp4", "mxfp8"])
def test_other_modes_are_refused_by_name(tmp_path: Path, mode: str) -> None:
    by_mlx_lm(write_llama(tmp_path / "published"), tmp_path / mode, group_size=None, bits=None, mode=mode)
    with pytest.raises(SpecError, match=f"quantized in mode '{mode}', which Edge does not read"):
        open_checkpoint(tmp_path / mode)


def test_stacks_of_experts_in_mxfp4_are_read(tmp_path: Path) -> None:
    config, said = MIXTURES["qwen3-moe-dense-layer"](), {"bits": 4, "group_size": 32, "mode": "mxfp4"}
    config.update({"hidden_size": 32, "intermediate_size": 32, "moe_intermediate_size": 32})
    write_reference(config, tmp_path / "published")
    folder = rewritten(tmp_path / "published", as_mlx_lm, tmp_path / "mlx-lm", quantization=said)
    tensors, dense = load_file(folder / "model.safetensors"), {}
    for name in [name for name in tensors if "switch_mlp" in name]:
        codes, scales = mx.quantize(mx.array(tensors[name]), group_size=32, bits=4, mode="mxfp4")
        dense[name] = np.array(mx.dequantize(codes, scales, group_size=32, bits=4, mode="mxfp4").astype(mx.float32))
        tensors |= {name: np.array(codes), name.replace(".weight", ".scales"): np.array(scales)}
    save_file(tensors, folder / "model.safetensors")
    same = rewritten(tmp_path / "published", lambda all_: as_mlx_lm(all_) | dense, tmp_path / "dense")
    held, want = open_checkpoint(folder), open_checkpoint(same)
    stack = "layers.0.ffn.experts.gate_up.weight"
    assert held.quantized[stack].n_experts == 6
    assert np.array_equal(held.weights[stack], want.weights[stack])
