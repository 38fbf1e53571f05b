"""Experts are read to the same parameters from every form in which they are stored; damaged ones are refused."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import GptOssConfig
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

import edge
from models.checkpoint import open_checkpoint
from models.errors import CheckpointError
from models.families.stacks import Mxfp4
from models.parameters import parameter_count
from models.spec import MoE
from tests.reference import REFERENCES, reference_logits, write_reference
from tests.reference_mixtures import MIXTURES

IDS = [3, 1, 41, 59, 26, 5, 35, 89, 79]

Tensors = dict[str, np.ndarray]

ONE_BY_ONE = [name for name in MIXTURES if name.startswith(("mixtral", "qwen", "olmoe"))]


def parameters(folder: Path) -> Tensors:
    return {name: np.array(array, np.float32) for name, array in open_checkpoint(folder).weights.items()}


def check_equal(got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray], form: str) -> None:
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert array.shape == got[name].shape and array.tobytes() == got[name].tobytes(), f"'{name}' differs in {form}"


def rewritten(folder: Path, change: Callable[[Tensors], Tensors], out: Path, **keys: object) -> Path:
    """A checkpoint with other tensors, and other keys in its config."""
    out.mkdir()
    save_file(change(load_file(folder / "model.safetensors")), out / "model.safetensors", {"format": "pt"})
    (out / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text()) | keys))
    return out


def as_mlx_lm(tensors: Tensors) -> Tensors:
    """What `mlx_lm.convert` makes of any mixture: a stack each of gates, ups and downs."""
    written: Tensors = {}
    names = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}
    for name, tensor in tensors.items():
        block, _, rest = name.partition(".experts.")
        expert, _, part = rest.removesuffix(".weight").partition(".")
        if expert.isdigit():
            stack = f"{block}.switch_mlp.{names.get(part, part)}.weight"
            if stack not in written:
                count = sum(other.startswith(f"{block}.experts.") and part in other for other in tensors)
                written[stack] = np.stack([tensors[f"{block}.experts.{one}.{part}.weight"] for one in range(count)])
        elif name.endswith("input_linear.weight"):
            gates, ups = np.split(tensor, 2, axis=1)
            written[name.replace("input_linear", "switch_mlp.gate_proj")] = np.ascontiguousarray(gates)
            written[name.replace("input_linear", "switch_mlp.up_proj")] = np.ascontiguousarray(ups)
        elif name.endswith("output_linear.weight"):
            written[name.replace("output_linear", "switch_mlp.down_proj")] = tensor
        elif rest:  # gpt-oss: stacks of (input, output), with interleaved gates and ups
            kind = "bias" if rest.endswith("_bias") else "weight"
            stack = tensor if kind == "bias" else tensor.swapaxes(1, 2)
            split = (
                {"gate_proj": stack[:, ::2], "up_proj": stack[:, 1::2]} if "gate_up" in rest else {"down_proj": stack}
            )
            written |= {f"{block}.experts.{part}.{kind}": np.ascontiguousarray(half) for part, half in split.items()}
        else:
            written[name] = tensor
    return written


@pytest.mark.parametrize("name", MIXTURES)
def test_every_form_gives_the_same_parameters(name: str, tmp_path: Path) -> None:
    """As published, as transformers has them in memory, and as mlx-lm stores them; gates and ups are interleaved."""
    model = write_reference(MIXTURES[name](), tmp_path / "published")
    write_reference(MIXTURES[name](), tmp_path / "in memory", save_original_format=False)
    mlx = rewritten(tmp_path / "published", as_mlx_lm, tmp_path / "mlx-lm")
    published = set(load_file(tmp_path / "published" / "model.safetensors"))
    assert published != set(load_file(mlx / "model.safetensors")), "the form of mlx-lm is the published one"
    want = parameters(tmp_path / "published")
    check_equal(parameters(tmp_path / "in memory"), want, "the form of transformers in memory")
    check_equal(parameters(mlx), want, "the form of mlx-lm")
    held, in_memory = open_checkpoint(mlx), model.state_dict()
    assert held.stored_bytes == 4 * parameter_count(held.spec)
    layer = next(layer for layer, one in enumerate(held.spec.layers) if isinstance(one.ffn, MoE))
    stack = next(name for name in in_memory if f"layers.{layer}." in name and name.endswith("experts.gate_up_proj"))
    theirs, ours = in_memory[stack].numpy(), want[f"layers.{layer}.ffn.experts.gate_up.weight"]
    if name.startswith("gpt-oss"):
        assert np.array_equal(ours, theirs.swapaxes(1, 2))
    else:
        assert np.array_equal(ours[:, ::2], np.split(theirs, 2, axis=1)[0])
        assert np.array_equal(ours[:, 1::2], np.split(theirs, 2, axis=1)[1])


def test_mxfp4_is_decoded_as_transformers_decodes_it() -> None:
    """Every byte under every scale, bit for bit. The result of transformers is (expert, input, output)."""
    blocks = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16), (2, 256, 16, 16))
    scales = np.repeat(np.stack([np.arange(256), np.arange(256)[::-1]]).astype(np.uint8)[..., None], 16, axis=-1)
    ours = Mxfp4().join([blocks, scales])
    for dtype in (torch.bfloat16, torch.float32):
        theirs = convert_moe_packed_tensors(torch.tensor(blocks.copy()), torch.tensor(scales), dtype=dtype)
        turned = np.ascontiguousarray(theirs.transpose(1, 2).float().numpy())
        assert ours.shape == turned.shape and ours.dtype == np.float32
        assert ours.tobytes() == turned.tobytes(), f"some numbers differ from those of transformers in {dtype}"


@pytest.fixture
def gpt_oss(tmp_path: Path) -> Path:
    """A gpt-oss whose sizes are whole groups of MXFP4."""
    made = REFERENCES["gpt-oss-sinks-windows"]()
    config = GptOssConfig(**made.to_dict() | {"hidden_size": 64, "intermediate_size": 32})
    write_reference(config, tmp_path / "gpt-oss")
    return tmp_path / "gpt-oss"


def in_mxfp4(tensors: Tensors) -> Tensors:
    """Random blocks and scales in place of the stacks of experts."""
    random, written = np.random.default_rng(0), dict(tensors)
    for name in [name for name in tensors if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        experts, columns, rows = written.pop(name).shape
        written[f"{name}_blocks"] = random.integers(0, 256, (experts, rows, columns // 32, 16), np.uint8)
        written[f"{name}_scales"] = random.integers(120, 125, (experts, rows, columns // 32), np.uint8)
    return written


def out_of_mxfp4(tensors: Tensors) -> Tensors:
    """The same with the stacks that transformers makes of them."""
    written = {name: tensor for name, tensor in tensors.items() if not name.endswith(("_blocks", "_scales"))}
    for name in [name.removesuffix("_blocks") for name in tensors if name.endswith("_blocks")]:
        parts = [torch.tensor(tensors[f"{name}_{part}"]) for part in ("blocks", "scales")]
        written[name] = convert_moe_packed_tensors(*parts, dtype=torch.float32).numpy()
    return written


MXFP4 = {"quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}}


def test_a_checkpoint_in_mxfp4_is_read(gpt_oss: Path, tmp_path: Path) -> None:
    """The parameters of the stacks that transformers makes of it, and its logits."""
    from transformers import AutoModelForCausalLM

    quantized = rewritten(gpt_oss, in_mxfp4, tmp_path / "quantized", **MXFP4)
    dense = rewritten(quantized, out_of_mxfp4, tmp_path / "dense", quantization_config=None)
    check_equal(parameters(quantized), parameters(dense), "MXFP4")
    held = sum(tensor.nbytes for tensor in load_file(quantized / "model.safetensors").values())
    assert open_checkpoint(quantized).stored_bytes == held
    want = reference_logits(AutoModelForCausalLM.from_pretrained(dense).eval(), IDS)
    with edge.load(quantized, engine="torch") as model:
        worst = float(np.abs(model.logits(IDS) - want).max())
    assert worst < 2e-4 * max(1.0, float(np.abs(want).max())), f"MXFP4 leaves transformers by {worst:.2g}"


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        open_checkpoint(folder)
    return str(refused.value)


@pytest.mark.parametrize("name", ["mixtral-window", "qwen3-moe-dense-layer", "olmoe-clipped"])
@pytest.mark.parametrize("expert", [0, 3])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_lost_expert_is_named(name: str, expert: int, part: int, tmp_path: Path) -> None:
    """With the config key that counts experts."""
    write_reference(MIXTURES[name](), tmp_path / "whole")
    tensor = _tensors_of(load_file(tmp_path / "whole" / "model.safetensors"), expert)[part]
    lost = rewritten(
        tmp_path / "whole", lambda all_: {key: one for key, one in all_.items() if key != tensor}, tmp_path / "lost"
    )
    said = refusal(lost)
    assert f"'{tensor}'" in said, f"the message does not name '{tensor}': {said}"
    assert "num_experts=6" in said or "num_local_experts=6" in said, said


@pytest.mark.parametrize("expert", [0, 5])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_an_expert_of_another_shape_is_named(expert: int, part: int, tmp_path: Path) -> None:
    """With both shapes, and the config key of its width."""
    write_reference(MIXTURES["qwen3-moe-dense-layer"](), tmp_path / "whole")
    tensors = load_file(tmp_path / "whole" / "model.safetensors")
    tensor = _tensors_of(tensors, expert)[part]
    wide, needed = np.zeros((21, 32), np.float32), tensors[tensor].shape
    said = refusal(rewritten(tmp_path / "whole", lambda all_: all_ | {tensor: wide}, tmp_path / "wide"))
    for shown in (f"'{tensor}'", "(21, 32)", str(needed), "moe_intermediate_size=20"):
        assert shown in said, f"the message leaves out {shown}: {said}"


def _tensors_of(tensors: Tensors, expert: int) -> list[str]:
    """The three tensors of one expert of the last layer."""
    found = sorted(
        name
        for name in tensors
        if f".2.mlp.experts.{expert}." in name or f".2.block_sparse_moe.experts.{expert}." in name
    )
    assert len(found) == 3, found
    return found


def test_stacks_that_do_not_fit_are_named(gpt_oss: Path, tmp_path: Path) -> None:
    """Stacks in MXFP4 without scales, of other shape, of another type, and of sizes that are no whole groups."""
    quantized = rewritten(gpt_oss, in_mxfp4, tmp_path / "quantized", **MXFP4)
    stack = "model.layers.1.mlp.experts.down_proj"
    scales = load_file(quantized / "model.safetensors")[f"{stack}_scales"]
    changes: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
        "lost": (lambda all_: {key: one for key, one in all_.items() if key != f"{stack}_scales"}, "but not"),
        "short": (
            lambda all_: all_ | {f"{stack}_scales": scales[:, 1:].copy()},
            "(6, 63, 1), the spec needs (6, 64, 1)",
        ),
        "wide": (
            lambda all_: all_ | {f"{stack}_scales": scales.astype(np.float32)},
            "stored as F32 by 'mxfp4'; it must be U8",
        ),
    }
    for name, (change, expected) in changes.items():
        said = refusal(rewritten(quantized, change, tmp_path / name))
        assert f"{stack}_scales'" in said and expected in said, said
    write_reference(REFERENCES["gpt-oss-sinks-windows"](), tmp_path / "of 20 neurons")
    said = refusal(rewritten(tmp_path / "of 20 neurons", in_mxfp4, tmp_path / "odd", **MXFP4))
    assert "rows of 20" in said and "'intermediate_size' must be multiples of 32" in said, said
