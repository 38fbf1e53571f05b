"""Checkpoints that mlx-lm quantized are read as they are, in all widths, and run the same in every engine."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edge.session import load
from models.checkpoint import open_checkpoint
from models.errors import CheckpointError, SpecError
from models.precision import Zero
from models.sources.quantized_folders.quantized_modules import ModuleMatrix
from tests.mlx_quantized import by_mlx_lm, change_config, quantize
from tests.models.families.test_stored_experts import as_mlx_lm, rewritten
from tests.reference import REFERENCES, write_reference

mx = pytest.importorskip("mlx.core")

IDS = [3, 1, 4, 1, 5, 9, 2, 6]


def dequantized(folder: Path, out: Path) -> Path:
    """The same folder with the numbers that MLX itself says the codes stand for."""
    config = json.loads((folder / "config.json").read_text())
    table = config.pop("quantization")
    del config["quantization_config"]
    tensors, dense = load_file(folder / "model.safetensors"), {}
    for name, tensor in tensors.items():
        module = name.removesuffix(".weight")
        if f"{module}.scales" in tensors:
            parts = [mx.array(tensors[f"{module}.{part}"]).astype(mx.float32) for part in ("scales", "biases")]
            sizes = table.get(module, {key: table[key] for key in ("group_size", "bits")})
            dense[name] = np.array(mx.dequantize(mx.array(tensor), *parts, **sizes))
        elif not name.endswith((".scales", ".biases")):
            dense[name] = tensor
    out.mkdir()
    save_file(dense, out / "model.safetensors", {"format": "pt"})
    (out / "config.json").write_text(json.dumps(config))
    return out


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("llama-grouped-tied", 4),
        ("llama-grouped-tied", 8),
        ("neox-tied-without-attention-bias", 4),
        ("granite-multipliers-untied", 8),
        ("glm4-neighbors-rotated-norms-around", 4),
        ("cohere2-shared-norm-without-bias", 8),
    ],
)
def test_every_engine_runs_what_mlx_quantized(tmp_path: Path, name: str, bits: int) -> None:
    """As torch runs the numbers that MLX says the codes stand for; whole matrices, rows of one, and multiplied ones."""
    folder = tmp_path / "quantized"
    write_reference(REFERENCES[name](), folder)
    quantize(folder, bits)
    with load(dequantized(folder, tmp_path / "dense"), "torch", threads=1) as model:
        want = model.logits(IDS)
    for engine, named in (("torch", ""), ("mlx", ""), ("onnx", "-acc0")):
        with load(folder, f"{engine}:int{bits}{named}", threads=1) as model:
            assert model.engine == f"{engine}:int{bits}{named}", "a quantized checkpoint does not say what it is"
            worst = float(np.abs(model.logits(IDS) - want).max())
        assert worst < 1e-3 * max(1.0, float(np.abs(want).max())), f"{engine} leaves MLX's own numbers by {worst:.2g}"


def test_a_matrix_keeps_the_codes_and_the_offsets_it_was_given(tmp_path: Path) -> None:
    write_reference(REFERENCES["llama-grouped-tied"](), tmp_path)
    quantize(tmp_path, 4)
    held, tensors = open_checkpoint(tmp_path), load_file(tmp_path / "model.safetensors")
    module = "model.layers.0.self_attn.q_proj"
    matrix = held.quantized["layers.0.attn.query.weight"]
    assert np.array_equal(matrix.codes.view(np.uint32), tensors[f"{module}.weight"])
    assert np.array_equal(matrix.offsets, tensors[f"{module}.biases"].astype(np.float32))
    assert matrix.scheme.zero is Zero.OFFSET and "layers.0.attn.norm.weight" not in held.quantized
    assert held.stored_bytes > sum(matrix.nbytes for matrix in held.quantized.values())


USUAL = {"bits": 4, "group_size": 32}

EMBEDDING = "model.embed_tokens"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantized by 'gptq'"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantized by 'awq'"),
        (
            {"quantization": USUAL | {EMBEDDING: {"bits": 6}}},
            "4 bits in groups of 32, but the config says 6 bits in gr",
        ),
        ({"quantization": USUAL | {EMBEDDING: USUAL | {"bits": "4"}}}, "'bits' is '4'; it must be a whole number"),
        ({"quantization": USUAL | {"bits": 4.5}}, "'bits' is 4.5; it must be a whole number"),
        ({"quantization": USUAL | {"group_size": 0}}, "'group_size' is 0; it must be a whole number of at least 1"),
        ({"quantization": USUAL | {EMBEDDING: False}}, f"'{EMBEDDING}'.* has scales, though the config says"),
        ({"quantization": USUAL | {EMBEDDING: USUAL | {"mode": "mxfp4"}}}, "form of mode 'affine'.* says 'mxfp4'"),
    ],
)
def test_other_quantizations_are_refused_by_name(tmp_path: Path, keys: dict, said: str) -> None:
    write_reference(REFERENCES["llama-grouped-tied"](), tmp_path)
    quantize(tmp_path, 4)
    change_config(tmp_path, **keys)
    with pytest.raises((SpecError, CheckpointError), match=said):
        open_checkpoint(tmp_path)


def test_a_lost_tensor_is_named(tmp_path: Path) -> None:
    write_reference(REFERENCES["llama-grouped-tied"](), tmp_path)
    quantize(tmp_path, 4)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.0.mlp.gate_proj.biases"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"'model.layers.0.mlp.gate_proj.biases' is missing"):
        open_checkpoint(tmp_path)


def write_mixture(name: str, folder: Path, width: int) -> None:
    """A mixture whose matrices are all this wide, so that they fill groups."""
    config = REFERENCES[name]()
    sizes = {"hidden_size", "intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size"}
    for key in sizes & config.to_dict().keys():
        setattr(config, key, width)
    write_reference(config, folder)


def quantized_mixture(name: str, folder: Path, bits: int) -> Path:
    """A mixture as mlx-lm quantizes it."""
    write_mixture(name, folder / "published", 32)
    written = rewritten(folder / "published", as_mlx_lm, folder / "mlx-lm")
    quantize(written, bits)
    return written


@pytest.mark.parametrize(
    ("name", "bits", "engines"),
    [
        ("mixtral-relu-tied", 4, ("torch", "mlx", "onnx:int4-acc0")),
        ("qwen2-moe-shared-expert", 8, ("torch", "mlx", "onnx:int8-acc0")),
        ("qwen3-moe-dense-layer", 4, ("torch", "mlx")),
        ("olmoe-clipped", 4, ("torch", "mlx")),
        ("granitemoe-multipliers", 4, ("torch", "mlx")),
    ],
)
def test_every_engine_runs_a_mixture_that_mlx_quantized(
    tmp_path: Path, name: str, bits: int, engines: tuple[str, ...]
) -> None:
    """Stacks of experts stay quantized; routers and gates of shared experts become numbers."""
    folder = quantized_mixture(name, tmp_path, bits)
    held = open_checkpoint(folder)
    stacks = {name for name in held.weights if ".experts." in name}
    assert stacks and stacks <= held.quantized.keys()
    assert not any("router" in name or "shared_gate" in name for name in held.quantized)
    with load(dequantized(folder, tmp_path / "dense"), "torch", threads=1) as model:
        want = model.logits(IDS)
        dense = model.checkpoint.weights
        for part in held.weights:
            close = np.allclose(held.weights[part].astype(np.float32), dense[part].astype(np.float32), atol=1e-6)
            assert close, f"'{part}' is not what MLX says the codes stand for"
    for engine in engines:
        with load(folder, engine, threads=1) as model:
            worst = float(np.abs(model.logits(IDS) - want).max())
        assert worst < 1e-3 * max(1.0, float(np.abs(want).max())), f"{engine} leaves MLX's own numbers by {worst:.2g}"


@pytest.mark.parametrize("name", ["qwen2-moe-shared-expert", "qwen3-moe-dense-layer", "olmoe-renormalized-biases"])
def test_a_mixture_quantized_by_mlx_lm_has_the_logits_of_mlx_lm(tmp_path: Path, name: str) -> None:
    published = tmp_path / "published"
    write_mixture(name, published, 64)
    config = json.loads((published / "config.json").read_text())
    config |= {"num_experts": 6, "rope_theta": 10_000.0, "norm_topk_prob": config.get("norm_topk_prob", False)}
    (published / "config.json").write_text(json.dumps(config))  # keys that mlx-lm wants stated
    theirs = by_mlx_lm(published, tmp_path / "by-mlx-lm", group_size=64, bits=4)
    want = np.array(theirs(mx.array([IDS]))[0].astype(mx.float32))
    for engine in ("torch", "mlx"):
        with load(tmp_path / "by-mlx-lm", engine, threads=1) as model:
            worst = float(np.abs(model.logits(IDS) - want).max())
        assert worst < 1e-4 * max(1.0, float(np.abs(want).max())), f"{engine} leaves mlx-lm by {worst:.2g}"


def test_gates_and_ups_of_two_widths_are_refused(tmp_path: Path) -> None:
    folder = quantized_mixture("qwen3-moe-dense-layer", tmp_path, 4)
    tensors, module = load_file(folder / "model.safetensors"), "model.layers.0.mlp.switch_mlp.up_proj"
    parts = mx.quantize(mx.zeros((6, 32, 32)), group_size=32, bits=8)
    tensors |= {
        f"{module}.{part}": np.array(value) for part, value in zip(("weight", "scales", "biases"), parts, strict=True)
    }
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(SpecError, match=r"switch_mlp.gate_proj' and '.*up_proj' are quantized in two ways"):
        open_checkpoint(folder)


@pytest.mark.parametrize("part", ["switch_mlp.up_proj", "gate", "shared_expert_gate"])
def test_a_quantized_part_of_a_mixture_that_the_config_does_not_state_is_named(tmp_path: Path, part: str) -> None:
    write_reference(REFERENCES["qwen2-moe-shared-expert"](), tmp_path / "published")
    folder = rewritten(tmp_path / "published", as_mlx_lm, tmp_path / "mlx-lm")
    module, tensors = f"model.layers.1.mlp.{part}", load_file(folder / "model.safetensors")
    codes, scales, biases = mx.quantize(mx.array(tensors[f"{module}.weight"]), group_size=32, bits=8)
    parts = {"weight": codes, "scales": scales, "biases": biases}
    save_file(
        tensors | {f"{module}.{name}": np.array(value) for name, value in parts.items()}, folder / "model.safetensors"
    )
    with pytest.raises(CheckpointError, match=f"'{module}.*quantized"):
        open_checkpoint(folder)


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


def test_the_size_and_the_names_of_matrices_are_known_without_reading_them(tmp_path: Path) -> None:
    """Stacks of experts are gigabytes."""
    folder = quantized_mixture("qwen2-moe-shared-expert", tmp_path, 4)
    held, tensors = open_checkpoint(folder), load_file(folder / "model.safetensors")
    assert held.stored_bytes == sum(tensor.nbytes for tensor in tensors.values())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModuleMatrix, "read", lambda matrix: pytest.fail(f"read {matrix.shape}"))
        for names in (held.quantized, held.weights):
            assert "layers.0.ffn.experts.down.weight" in names and "layers.0.ffn.experts.down.bias" not in names
        assert held.stored_bytes and set(held.float_kinds) == {"float32"}


def test_a_group_of_equal_weights_keeps_them(tmp_path: Path) -> None:
    write_reference(REFERENCES["llama-grouped-tied"](), tmp_path)
    quantize(tmp_path, 4)
    tensors, module = load_file(tmp_path / "model.safetensors"), "model.layers.0.self_attn.q_proj"
    tensors[f"{module}.scales"][3, 0], tensors[f"{module}.biases"][3, 0] = 0, 0.25
    assert tensors[f"{module}.weight"][3].any(), "codes that the scale hides"
    save_file(tensors, tmp_path / "model.safetensors")
    assert (open_checkpoint(tmp_path).weights["layers.0.attn.query.weight"][3, :32] == 0.25).all()


def test_a_tied_matrix_may_be_stored_as_the_head(tmp_path: Path) -> None:
    write_reference(REFERENCES["llama-grouped-tied"](), tmp_path)
    quantize(tmp_path, 4)
    want = open_checkpoint(tmp_path).weights["embed.weight"]
    tensors = load_file(tmp_path / "model.safetensors")
    named = {name.replace("model.embed_tokens", "lm_head"): tensor for name, tensor in tensors.items()}
    save_file(named, tmp_path / "model.safetensors")
    assert np.array_equal(open_checkpoint(tmp_path).weights["embed.weight"], want)


def test_ups_without_quantization_beside_quantized_gates_are_named(tmp_path: Path) -> None:
    folder = quantized_mixture("qwen3-moe-dense-layer", tmp_path, 4)
    tensors, module = load_file(folder / "model.safetensors"), "model.layers.0.mlp.switch_mlp.up_proj"
    del tensors[f"{module}.scales"], tensors[f"{module}.biases"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=rf"'{module}.scales' is missing"):
        open_checkpoint(folder)
