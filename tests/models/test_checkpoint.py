"""Checkpoints that cannot be read are refused with a message that says what to do."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from models.checkpoint import open_checkpoint
from models.errors import CheckpointError, EdgeError, SpecError
from models.parameters import parameter_count, parameter_shapes
from tests.reference import REFERENCES, write_reference


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference") / "tiny-llama"
    write_reference(REFERENCES["llama-grouped-tied"](), folder)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A checkpoint that a test may damage."""
    return Path(shutil.copytree(written, tmp_path / "tiny-llama"))


def refusal(folder: Path, kind: type[EdgeError] = CheckpointError) -> str:
    with pytest.raises(kind) as refused:
        open_checkpoint(folder)
    return str(refused.value)


def test_a_checkpoint_lists_every_parameter_once(folder: Path) -> None:
    checkpoint = open_checkpoint(folder)
    shapes = {name: array.shape for name, array in checkpoint.weights.items()}
    assert shapes == parameter_shapes(checkpoint.spec)
    assert checkpoint.stored_bytes == 4 * parameter_count(checkpoint.spec)


def test_weights_are_mapped_not_read(folder: Path) -> None:
    assert isinstance(open_checkpoint(folder).weights["layers.0.attn.query.weight"], np.memmap)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nowhere")


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("")
    assert "is neither a GGUF file nor a folder with config.json" in refusal(tmp_path / "model")


def test_a_folder_without_config_is_no_checkpoint(tmp_path: Path) -> None:
    assert "has no config.json" in refusal(tmp_path)


def test_a_folder_without_weights_is_no_checkpoint(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "has no *.safetensors file" in refusal(folder)


def test_pickled_weights_are_refused_with_the_reason(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    said = refusal(folder)
    assert "run code" in said and "safe_serialization=True" in said


@pytest.mark.parametrize("kept", [0, 5, 100, 5_000])
def test_a_truncated_file_is_called_truncated(folder: Path, kept: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    assert "truncated or damaged" in refusal(folder)


@pytest.mark.parametrize("header", [b"{", b"[]", b"\xff\xfe", b'{"a": 3}', b'{"a": {"dtype": "F32"}}'])
def test_a_corrupt_header_is_called_damaged(folder: Path, header: bytes) -> None:
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert "truncated or damaged" in refusal(folder)


def test_offsets_that_lie_are_caught(folder: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 12]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    assert "tensor 'a' of shape (4,) takes 12 bytes" in refusal(folder)


def test_a_wrong_shape_names_tensor_shapes_and_config_key(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.self_attn.k_proj.weight"] = np.zeros((8, 32), np.float32)
    save_file(weights, folder / "model.safetensors")
    said = refusal(folder)
    for part in ("'model.layers.1.self_attn.k_proj.weight'", "(8, 32)", "(16, 32)", "num_key_value_heads=2"):
        assert part in said, f"the message leaves out {part}: {said}"


def test_a_missing_tensor_is_named_in_both_vocabularies(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.2.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors")
    said = refusal(folder)
    assert "'layers.2.ffn.up.weight'" in said and "'model.layers.2.mlp.up_proj.weight'" in said


def test_whole_numbers_are_no_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = np.ones(32, np.int32)
    save_file(weights, folder / "model.safetensors")
    assert "stored as I32" in refusal(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "lacks the shard model-00002-of-00002.safetensors" in refusal(folder)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_a_config_that_is_no_table_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert "config.json" in refusal(folder, SpecError)
