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
from tests.models.families.test_stored_experts import as_mlx_lm, rewritten
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


@pytest.mark.parametrize("part", ["switch_mlp.up_proj", "switch_mlp.down_proj", "gate", "shared_expert_gate"])
@pytest.mark.parametrize("stated", [True, False])
def test_quantized_mixtures_are_refused_by_the_name_of_a_module(tmp_path: Path, part: str, stated: bool) -> None:
    """Stacks of experts in 4 bits, or a router in 8; whether the config states it or not."""
    write_reference(REFERENCES["qwen2-moe-shared-expert"](), tmp_path / "published")
    folder = rewritten(tmp_path / "published", as_mlx_lm, tmp_path / "mlx-lm")
    module = f"model.layers.1.mlp.{part}"
    tensors = load_file(folder / "model.safetensors")
    wide = np.concatenate([tensors[f"{module}.weight"]] * 4, axis=-1)[..., :32]
    codes, scales, biases = mx.quantize(mx.array(wide), group_size=32, bits=8)
    parts = {"weight": codes, "scales": scales, "biases": biases}
    tensors |= {f"{module}.{name}": np.array(value) for name, value in parts.items()}
    save_file(tensors, folder / "model.safetensors")
    if stated:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"quantization": {"group_size": 32, "bits": 8}}))
    with pytest.raises(SpecError if stated else CheckpointError) as refused:
        open_checkpoint(folder)
    said = str(refused.value)
    assert f"{module}" in said and ("mixture of experts that mlx-lm quantized" in said or not stated), said


def test_a_mixture_is_read_whose_other_matrices_mlx_quantized(tmp_path: Path) -> None:
    """Attention in 8 bits, with stacks of experts and a router of floats, as a conversion that leaves them out."""
    write_reference(REFERENCES["qwen3-moe-dense-layer"](), tmp_path / "published")
    folder = rewritten(tmp_path / "published", as_mlx_lm, tmp_path / "mlx-lm")
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if ".mlp." in name}
    save_file({name: tensor for name, tensor in tensors.items() if name not in kept}, folder / "model.safetensors")
    quantize(folder, 8)
    save_file(load_file(folder / "model.safetensors") | kept, folder / "model.safetensors")
    held, dense = open_checkpoint(folder), open_checkpoint(tmp_path / "published")
    assert "layers.0.attn.query.weight" in held.quantized
    for name in ("layers.0.ffn.experts.gate_up.weight", "layers.2.ffn.router.weight", "layers.1.ffn.up.weight"):
        assert name not in held.quantized and np.array_equal(held.weights[name], dense.weights[name])
    with load(dequantized(folder, tmp_path / "dense"), "torch", threads=1) as model:
        want = model.logits(IDS)
    for engine in ("torch", "mlx"):
        with load(folder, engine, threads=1) as model:
            worst = float(np.abs(model.logits(IDS) - want).max())
        assert worst < 1e-3 * max(1.0, float(np.abs(want).max())), f"{engine} leaves MLX's own numbers by {worst:.2g}"
