"""Other files in place of a checkpoint are recognized, and one message says what to do."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

import edge
from models.checkpoint import open_checkpoint
from models.errors import EdgeError, MisuseError
from models.find_model import find_model
from models.other_formats import name_in_url, without_tokenizer
from models.tokenizer import open_tokenizer
from tests.folders import write_byte_llama

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123\n"


def refusal(path: Path | str) -> str:
    with pytest.raises(EdgeError) as refused:
        edge.load(path)
    assert "\n" not in str(refused.value), "a refusal is one line"
    return str(refused.value)


def holding(*names: str, content: bytes = b"x") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)

    return write


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "owner/base"}))
    (folder / "adapter_model.safetensors").touch()


FOLDERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "an adapter": (adapter, r"adapter .*'owner/base'.*merge_and_unload"),
    "several GGUF files": (holding("model-q4.gguf", "model-q8.gguf"), r"GGUF files \(model-q4\.gguf, .*\); name one"),
    "pickled, whole": (holding("pytorch_model.bin"), r"pickled weights.*safe_serialization=True"),
    "pickled, of a first release": (holding("consolidated.00.pth", "params.json"), r"pickled.*safe_serialization=True"),
    "diffusers": (holding("model_index.json", "unet/config.json"), "diffusers"),
    "ONNX": (holding("std.onnx", "std.onnx.data"), r"ONNX graphs.*checkpoint that they were exported from"),
    "an older MLX": (holding("weights.npz"), r"mlx_lm\.convert"),
    "TensorFlow": (holding("tf_model.h5"), "TensorFlow"),
    "JAX": (holding("flax_model.msgpack"), "JAX"),
    "a first release": (holding("consolidated.safetensors", "params.json"), "transformers format"),
    "a training's folder": (holding("checkpoint-5/config.json"), "checkpoint-5 has one; name that folder"),
    "nothing": (lambda folder: None, r"no config\.json; a checkpoint is a folder"),
}


@pytest.mark.parametrize("has_config", [False, True])
@pytest.mark.parametrize("kind", FOLDERS)
def test_other_folders_are_recognized_with_what_helps(kind: str, has_config: bool, tmp_path: Path) -> None:
    write, said = FOLDERS[kind]
    write(tmp_path)
    if has_config:
        full = write_byte_llama(tmp_path / "full")
        os.replace(full / "config.json", tmp_path / "config.json")
        if kind in ("nothing", "a training's folder"):
            said = r"no \*\.safetensors file"
        elif kind == "a first release":
            (tmp_path / "consolidated.safetensors").unlink()
            said = r"no \*\.safetensors file"
    found = refusal(tmp_path)
    assert re.search(said, found), found


FILES = {
    "model.gguf": (b"PK", "is not a GGUF file"),
    "renamed": (b"GGUF\3\0\0\0", "truncated or damaged"),
    "model.bin": (b"\x80", "pickled"),
    "model.zip": (b"PK", "unpack it"),
    "config.json": (b"{}", "one file of a checkpoint; name its folder"),
    "words.dat": (b"words", "neither a GGUF file nor a folder"),
}


@pytest.mark.parametrize("name", FILES)
def test_other_files_are_recognized_with_what_helps(name: str, tmp_path: Path) -> None:
    content, said = FILES[name]
    (tmp_path / name).write_bytes(content)
    assert re.search(said, refusal(tmp_path / name))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "generation_config.json"])
def test_a_pointer_of_git_lfs_is_called_one(name: str, tmp_path: Path) -> None:
    folder = write_byte_llama(tmp_path / "a model")
    (folder / name).write_text(POINTER)
    with pytest.raises(EdgeError, match=r"Git LFS pointer") as refused:
        open_tokenizer(open_checkpoint(folder).source.texts())
    assert f"git -C '{folder}' lfs pull" in str(refused.value)


def test_an_index_that_is_a_pointer_is_called_one(tmp_path: Path) -> None:
    folder = write_byte_llama(tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(POINTER)
    assert "Git LFS pointer" in refusal(folder)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://huggingface.co/owner/model", "owner/model"),
        ("http://huggingface.co/owner/model.v2/", "owner/model.v2"),
        ("huggingface.co/owner/model/tree/main", "owner/model"),
        ("https://hf.co/owner/model?library=transformers", "owner/model"),
        ("https://huggingface.co/owner/model/resolve/main/model.safetensors", "owner/model"),
        ("https://huggingface.co/datasets/owner/texts", None),
        ("https://huggingface.co/spaces/owner/app", None),
        ("https://huggingface.co/docs", None),
        ("https://example.org/owner/model", None),
        ("owner/model", None),
        ("hf.co/owner/model:Q4_K_M", "owner/model:Q4_K_M"),
        ("https://huggingface.co/owner/model/blob/main/model-Q8_0.gguf?download=true", "owner/model:model-Q8_0"),
        ("https://huggingface.co/owner/model/resolve/main/a/x-Q8_0-00002-of-00003.gguf", "owner/model:x-Q8_0"),
        ("https://huggingface.co/owner/model/tree/main/Q8_0", "owner/model"),
        ("https://huggingface.co/owner/model:../x", None),
    ],
)
def test_the_page_of_a_model_has_its_name(url: str, name: str | None) -> None:
    assert name_in_url(url) == name


def test_a_page_is_refused_with_the_id_to_use() -> None:
    with pytest.raises(MisuseError, match=r"run 'edge models pull owner/model', then use the name 'owner/model'"):
        find_model("https://huggingface.co/owner/model/tree/main")


def test_the_command_for_a_missing_tokenizer_makes_it(tmp_path: Path) -> None:
    """A checkpoint as it was written before tokenizer.json was."""
    folder = write_byte_llama(tmp_path / "a model's folder")
    (folder / "tokenizer.json").unlink()
    alphabet = {char: number for number, char in enumerate([*pre_tokenizers.ByteLevel.alphabet(), "<|endoftext|>"])}
    tokenizers.Tokenizer(models.BPE(alphabet, [])).model.save(str(folder))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|endoftext|>"})
    )
    said = without_tokenizer(folder)
    command = said[said.index("python -c") :]
    with edge.load(folder, engine="torch") as model, pytest.raises(MisuseError, match=r"merges\.txt but no tokenizer"):
        model.run("a text", max_new_tokens=1)
    subprocess.run([sys.executable, *shlex.split(command)[1:]], check=True, capture_output=True)
    made = open_tokenizer(folder)
    assert made is not None and made.decode(made.encode("a text")) == "a text"


def test_a_sentencepiece_model_alone_is_recognized(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"\n")
    assert "sentencepiece" in without_tokenizer(tmp_path) and "save_pretrained" in without_tokenizer(tmp_path)


def test_an_adapter_beside_a_whole_model_is_not_passed_over(tmp_path: Path) -> None:
    """transformers reads the base and applies the adapter."""
    folder = write_byte_llama(tmp_path)
    adapter(folder)
    assert "'owner/base'" in refusal(folder) and "delete adapter_config.json" in refusal(folder)
