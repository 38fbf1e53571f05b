"""Checkpoints that mlx-lm quantized are read as they are, and run the same in every engine; others are refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edge.session import load
from models.checkpoint import open_checkpoint
from models.errors import CheckpointError, SpecError
from models.precision import Zero
from tests.mlx_quantized import quantize
from tests.reference import REFERENCES, write_reference

mx = pytest.importorskip("mlx.core")

IDS = [3, 1, 4, 1, 5, 9, 2, 6]


def dequantized(folder: Path, out: Path) -> Path:
    """The same folder with the numbers that MLX itself says the codes stand for."""
    config = json.loads((folder / "config.json").read_text())
    sizes = config.pop("quantization")
    del config["quantization_config"]
    tensors, dense = load_file(folder / "model.safetensors"), {}
    for name, tensor in tensors.items():
        module = name.removesuffix(".weight")
        if f"{module}.scales" in tensors:
            parts = [mx.array(tensors[f"{module}.{part}"]).astype(mx.float32) for part in ("scales", "biases")]
            dense[name] = np.array(mx.dequantize(mx.array(tensor), *parts, **sizes))
        elif not name.endswith((".scales", ".biases")):
            dense[name] = tensor
    out.mkdir()
    save_file(dense, out / "model.safetensors", {"format": "pt"})
    (out / "config.json").write_text(json.dumps(config))
    return out


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(
    "name",
    [
        "llama-grouped-tied",
        "neox-tied-without-attention-bias",
        "granite-multipliers-untied",
        "glm4-neighbors-rotated-norms-around",
        "cohere2-shared-norm-without-bias",
    ],
)
def test_every_engine_runs_what_mlx_quantized(tmp_path: Path, name: str, bits: int) -> None:
    """As torch runs the numbers that MLX says the codes stand for; whole matrices, rows of one, and multiplied ones."""
    folder = tmp_path / "quantized"
    write_reference(REFERENCES[name](), folder)
    quantize(folder, bits)
    with load(dequantized(folder, tmp_path / "dense"), "torch", threads=1) as model:
        want = model.logits(IDS)
    for engine in ("torch", "mlx", "onnx"):
        with load(folder, engine, threads=1) as model:
            assert model.engine == f"{engine}:int{bits}", "a quantized checkpoint does not say what it is"
            worst = float(np.abs(model.logits(IDS) - want).max())
        assert worst < 1e-3 * max(1.0, float(np.abs(want).max())), f"{engine} leaves MLX's own numbers by {worst:.2g}"


def test_a_matrix_keeps_the_codes_and_the_offsets_it_was_given(tmp_path: Path) -> None:
    write_reference(REFERENCES["llama-grouped-tied"](), tmp_path)
    quantize(tmp_path, 4)
    held, tensors = open_checkpoint(tmp_path), load_file(tmp_path / "model.safetensors")
    module = "model.layers.0.self_attn.q_proj"
    matrix = held.quantized["layers.0.attn.query.weight"]
    assert np.array_equal(matrix.codes.view(np.uint32), tensors[f"{module}.weight"])
    offsets = tensors[f"{module}.biases"].astype(np.float32)
    assert np.allclose(-matrix.zero_points() * matrix.scales, offsets, atol=1e-6)
    assert matrix.scheme.zero is Zero.ANY and "layers.0.attn.norm.weight" not in held.quantized
    assert held.stored_bytes > sum(matrix.nbytes for matrix in held.quantized.values())


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantized by 'gptq'"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantized by 'awq'"),
        ({"quantization": {"bits": 4, "group_size": 32, "mode": "mxfp4"}}, "mode 'mxfp4'"),
        ({"quantization": {"bits": 3, "group_size": 32}}, "with 3 bits"),
        ({"quantization": {"bits": 8, "group_size": 32}}, "8 bits need"),
        (
            {"quantization": {"bits": 4, "group_size": 32, "model.embed_tokens": {"bits": 6}}},
            "'model.embed_tokens'.*6 bits",
        ),
    ],
)
def test_other_quantizations_are_refused_by_name(tmp_path: Path, keys: dict, said: str) -> None:
    write_reference(REFERENCES["llama-grouped-tied"](), tmp_path)
    quantize(tmp_path, 4)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["quantization"], config["quantization_config"]
    (tmp_path / "config.json").write_text(json.dumps(config | keys))
    with pytest.raises((SpecError, CheckpointError), match=said):
        open_checkpoint(tmp_path)


def test_a_lost_tensor_is_named(tmp_path: Path) -> None:
    write_reference(REFERENCES["llama-grouped-tied"](), tmp_path)
    quantize(tmp_path, 4)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.0.mlp.gate_proj.biases"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(SpecError, match=r"'model.layers.0.mlp.gate_proj.biases' is missing"):
        open_checkpoint(tmp_path)
