"""The tensors of GGUF files: other ways of storing parameters, tensors that are ignored, and those that are missing."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from models.checkpoint import open_checkpoint
from models.errors import CheckpointError, SpecError
from models.sources.gguf.file import open_gguf
from models.sources.gguf.ggml_types import GGML_TYPES
from tests.models.sources.architectures import Small
from tests.models.sources.gguf_writer import KeyValue, Tensor, write_gguf

Smalls = Callable[[str], Small]

Arrays = dict[str, np.ndarray]

_IDS = {kind.name: number for number, kind in GGML_TYPES.items()}


def changed(small: Small, out: Path, change: Callable[[Arrays], Arrays], **keys: KeyValue) -> Path:
    """A file in float32 with other tensors, and other keys of its architecture."""
    opened = open_gguf(small.file)
    arrays = {name: one.rows().view(np.float32).reshape(one.shape) for name, one in opened.tensors.items()}
    prefix = opened.keys["general.architecture"]
    own: Mapping[str, KeyValue] = {**opened.keys, **{f"{prefix}.{name}": value for name, value in keys.items()}}
    return write_gguf(out, own, {name: in_float32(array) for name, array in change(arrays).items()})


def in_float32(array: np.ndarray) -> Tensor:
    return _IDS["F32"], array.shape, np.ascontiguousarray(array, np.float32).tobytes()


def same(arrays: Arrays) -> Arrays:
    return arrays


def check_same(small: Small, file: Path) -> None:
    """Both files have the same decoder."""
    want, found = open_checkpoint(small.file), open_checkpoint(file)
    assert found.spec == want.spec
    for name, array in want.weights.items():
        assert np.array_equal(found.weights[name], array), f"'{name}' differs"


def refusal(file: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        open_checkpoint(file)
    return str(refused.value)


@pytest.mark.parametrize("name", ["llama-tied-biases-full-heads", "granite", "glm4", "qwen2", "starcoder2", "phi2"])
def test_queries_keys_and_values_may_be_one_tensor(name: str, small: Smalls, tmp_path: Path) -> None:
    """In the order that the architecture has, which is another one where neighboring features are rotated."""

    def fused(arrays: Arrays) -> Arrays:
        kept = {name: array for name, array in arrays.items() if ".attn_" not in name or "output" in name}
        for kind in ("weight", "bias"):
            for layer in range(2):
                parts = [arrays.get(f"blk.{layer}.attn_{part}.{kind}") for part in "qkv"]
                if parts[0] is not None:
                    kept[f"blk.{layer}.attn_qkv.{kind}"] = np.concatenate([part for part in parts if part is not None])
        return kept | {name: array for name, array in arrays.items() if "attn_norm" in name}

    check_same(small(name), changed(small(name), tmp_path / "fused.gguf", fused))


@pytest.mark.parametrize("name", ["mixtral", "qwen3moe", "granitemoe", "gpt-oss"])
def test_gates_and_ups_of_experts_may_be_one_tensor(name: str, small: Smalls, tmp_path: Path) -> None:
    def fused(arrays: Arrays) -> Arrays:
        kept = {name: array for name, array in arrays.items() if "gate_exps" not in name and "up_exps" not in name}
        for name in arrays:
            if "gate_exps" in name:
                ups = arrays[name.replace("gate_exps", "up_exps")]
                kept[name.replace("gate_exps", "gate_up_exps")] = np.concatenate([arrays[name], ups], axis=1)
        return kept

    check_same(small(name), changed(small(name), tmp_path / "fused.gguf", fused))


def test_the_gate_of_a_shared_expert_is_a_vector_or_a_row(small: Smalls, tmp_path: Path) -> None:
    """Older converters wrote a vector."""
    gate = "blk.0.ffn_gate_inp_shexp.weight"
    assert open_gguf(small("qwen2moe").file).tensors[gate].shape == (1, 64)

    def flat(arrays: Arrays) -> Arrays:
        return arrays | {gate: arrays[gate].reshape(-1)}

    check_same(small("qwen2moe"), changed(small("qwen2moe"), tmp_path / "flat.gguf", flat))


IGNORED: Mapping[str, tuple[int, ...]] = {
    "v.blk.0.attn_q.weight": (8, 8),
    "v.patch_embd.weight": (4, 3, 2, 2),
    "mm.input_projection.weight": (8, 64),
    "a.blk.0.ffn_up.weight": (8, 8),
    "rope_freqs.weight": (8,),
    "blk.0.attn_rot_embd.weight": (8,),
    "blk.1.rope_freqs.weight": (8,),
}
"""Tensors of images and sound, and tables of angles."""


@pytest.mark.parametrize("name", ["qwen2", "gemma3-capped-unscaled", "gpt-oss"])
def test_tensors_of_other_inputs_are_ignored(name: str, small: Smalls, tmp_path: Path) -> None:
    other = {tensor: np.full(shape, 7, np.float32) for tensor, shape in IGNORED.items()}
    check_same(small(name), changed(small(name), tmp_path / "more.gguf", lambda arrays: arrays | other))


@pytest.mark.parametrize("name", ["glm4", "exaone4", "llama"])
def test_layers_that_predict_further_tokens_are_ignored(name: str, small: Smalls, tmp_path: Path) -> None:
    """They are counted, and may be stored or not."""
    layers = len(open_checkpoint(small(name).file).spec.layers)

    def more(arrays: Arrays) -> Arrays:
        last = {key: array for key, array in arrays.items() if key.startswith(f"blk.{layers - 1}.")}
        repeated = {key.replace(f"blk.{layers - 1}.", f"blk.{layers}."): array for key, array in last.items()}
        further = {f"blk.{layers}.nextn.{part}.weight": np.ones((64,)) for part in ("enorm", "hnorm", "eh_proj")}
        return arrays | repeated | further

    counts = {"block_count": layers + 1, "nextn_predict_layers": 1}
    for change in (more, same):
        check_same(small(name), changed(small(name), tmp_path / "next.gguf", change, **counts))
    uncounted = changed(small(name), tmp_path / "uncounted.gguf", more)
    with pytest.raises(SpecError, match=rf"block_count' is {layers}; it must be {layers + 1}"):
        open_checkpoint(uncounted)


@pytest.mark.parametrize("name", ["llama-tied-biases-full-heads", "gpt2", "mixtral", "phi3-window", "stablelm"])
def test_every_missing_tensor_is_named(name: str, small: Smalls, tmp_path: Path) -> None:
    """Without a bias of the first layer, the others are too many; a head may be the embedding."""
    for tensor in open_gguf(small(name).file).tensors.keys() - {"token_embd.weight", "output.weight"}:
        said = refusal(without(small(name), tmp_path / "less.gguf", tensor))
        other = tensor.endswith(".bias") or "ffn_norm" in tensor
        assert f"'{tensor}'" in said or (other and re.search(r"'blk\.\d\.", said)), f"{tensor}: {said}"


def test_without_a_head_the_embedding_is_the_head(small: Smalls, tmp_path: Path) -> None:
    assert not open_checkpoint(small("llama").file).spec.tied
    assert open_checkpoint(without(small("llama"), tmp_path / "tied.gguf", "output.weight")).spec.tied


def without(small: Small, out: Path, lost: str) -> Path:
    """A file without the tensors whose names start like this."""
    return changed(
        small, out, lambda arrays: {name: array for name, array in arrays.items() if not name.startswith(lost)}
    )


def with_tensor(small: Small, out: Path, tensor: str, array: np.ndarray) -> Path:
    return changed(small, out, lambda arrays: arrays | {tensor: array})


def test_a_missing_layer_is_named(small: Smalls, tmp_path: Path) -> None:
    last = without(small("llama"), tmp_path / "last.gguf", "blk.1.")
    with pytest.raises(SpecError, match=r"'llama\.block_count' is 2; it must be 1, .* tensors of 1 layers"):
        open_checkpoint(last)
    first = refusal(without(small("llama"), tmp_path / "first.gguf", "blk.0."))
    assert "no tensor 'blk.0.attn_norm.weight'" in first and "block_count=2" in first


def test_a_file_without_an_embedding_is_refused(small: Smalls, tmp_path: Path) -> None:
    none = without(small("llama"), tmp_path / "none.gguf", "token_embd.weight")
    with pytest.raises(SpecError, match=r"no tensor 'token_embd\.weight'"):
        open_checkpoint(none)
    flat = with_tensor(small("llama"), tmp_path / "flat.gguf", "token_embd.weight", np.ones(64))
    with pytest.raises(SpecError, match=r"'token_embd.weight' of shape \(64,\)"):
        open_checkpoint(flat)


@pytest.mark.parametrize(
    ("name", "tensor", "shape"),
    [
        ("llama", "blk.0.attn_output.bias", (64,)),
        ("llama", "output.bias", (96,)),
        ("qwen2", "blk.1.attn_q_norm.weight", (16,)),
        ("granitemoe", "blk.1.ffn_gate_shexp.weight", (32, 64)),
        ("gemma", "output_norm.bias", (64,)),
    ],
)
def test_a_tensor_that_no_parameter_has_is_refused(
    name: str, tensor: str, shape: tuple[int, ...], small: Smalls, tmp_path: Path
) -> None:
    """Without it the decoder is another one; llama.cpp would refuse it too, or use it."""
    file = with_tensor(small(name), tmp_path / "more.gguf", tensor, np.ones(shape))
    assert f"has the tensor '{tensor}'" in refusal(file)


def test_tensors_of_one_parameter_must_have_one_type(small: Smalls, tmp_path: Path) -> None:
    opened = open_gguf(small("mixtral").file)
    tensors: dict[str, Tensor] = {
        name: (_IDS[one.kind], one.shape, one.rows().tobytes()) for name, one in opened.tensors.items()
    }
    gates = "blk.0.ffn_gate_exps.weight"
    shape = opened.tensors[gates].shape
    tensors[gates] = (_IDS["Q8_0"], shape, bytes(int(np.prod(shape)) // 32 * 34))
    said = refusal(write_gguf(tmp_path / "two.gguf", opened.keys, tensors))
    assert f"'{gates}' is Q8_0, 'blk.0.ffn_up_exps.weight' is F32" in said


def test_factors_must_be_numbers_above_0(small: Smalls, tmp_path: Path) -> None:
    """Also a list of them, in float32."""
    scaled, tensor = small("llama-llama3-scaling"), "rope_freqs.weight"
    for number in (0.0, -1.0, np.nan, np.inf):
        file = with_tensor(scaled, tmp_path / "factors.gguf", tensor, np.full(8, number))
        with pytest.raises(SpecError, match=f"'{tensor}' in .* not above 0"):
            open_checkpoint(file)
    for shape in ((7,), (2, 4)):
        file = with_tensor(scaled, tmp_path / "factors.gguf", tensor, np.ones(shape))
        with pytest.raises(SpecError, match=f"'{tensor}' in "):
            open_checkpoint(file)
