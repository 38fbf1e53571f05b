"""Folders as Ollama, LM Studio, llama.cpp and the hub's client write them, with a small GGUF model in them."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from tests.models.sources.gguf_writer import KeyValue, Tensor, write_gguf

F32, Q8_0, IQ2_XXS = 0, 8, 16
"""Ids of types of ggml."""

MODEL = "application/vnd.ollama.image.model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

LLAMA: dict[str, KeyValue] = {
    "general.architecture": "llama",
    "llama.context_length": 64,
    "llama.embedding_length": 32,
    "llama.block_count": 1,
    "llama.feed_forward_length": 64,
    "llama.attention.head_count": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
}
"""A Llama of one layer, without a tokenizer."""


def small_llama(file: Path, kind: int = Q8_0) -> Path:
    """Writes a random Llama whose matrices have one type."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return write_gguf(file, LLAMA, llama_tensors(kind))


def llama_tensors(kind: int = Q8_0) -> dict[str, Tensor]:
    random = np.random.default_rng(0)
    matrices = {f"blk.0.attn_{part}": (32, 32) for part in ("q", "k", "v", "output")}
    matrices |= {
        "blk.0.ffn_gate": (64, 32),
        "blk.0.ffn_up": (64, 32),
        "blk.0.ffn_down": (32, 64),
        "token_embd": (8, 32),
    }
    tensors = {f"{name}.weight": _matrix(shape, kind, random) for name, shape in matrices.items()}
    norms = ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")
    return tensors | {f"{name}.weight": (F32, (32,), np.ones(32, np.float32).tobytes()) for name in norms}


def _matrix(shape: tuple[int, int], kind: int, random: np.random.Generator) -> Tensor:
    rows, columns = shape
    if kind == F32:
        return kind, shape, random.standard_normal(shape).astype(np.float32).tobytes()
    if kind == IQ2_XXS:  # blocks of 256, which the rows of this model are too short for
        return kind, (rows, 256), bytes(rows * 66)
    blocks = np.zeros(rows * columns // 32, [("scale", np.float16), ("codes", np.int8, 32)])
    blocks["scale"], blocks["codes"] = 0.01, random.integers(-127, 128, blocks["codes"].shape)
    return kind, shape, blocks.tobytes()


def write_ollama(
    root: Path, name: tuple[str, str, str, str], weights: bytes, tree: str = "manifests", **changed: object
) -> Path:
    """Writes a model of Ollama by host, namespace, model and tag; returns its manifest.

    Args:
        changed: Values of the layer of weights that differ from the right ones.
    """
    digest = hashlib.sha256(weights).hexdigest()
    blob = root / "blobs" / f"sha256-{digest}"
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(weights)
    layer = {"mediaType": MODEL, "digest": f"sha256:{digest}", "size": len(weights), **changed}
    template = {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "0" * 64, "size": 1}
    return write_manifest(root, name, {"schemaVersion": 2, "layers": [template, layer]}, tree)


def write_manifest(root: Path, name: tuple[str, ...], content: object, tree: str = "manifests") -> Path:
    file = root.joinpath(tree, *name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return file


def write_hub(cache: Path, id: str, files: Mapping[str, bytes], commit: str = COMMIT, links: bool = True) -> Path:
    """Writes a repository into a cache of the hub, and returns the folder of its commit.

    Args:
        links: Whether the files are links to blobs; without them, as on Windows, they are files.
    """
    entry = cache / f"models--{id.replace('/', '--')}"
    snapshot = entry / "snapshots" / commit
    for name, content in files.items():
        file = snapshot / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if links:
            blob = entry / "blobs" / hashlib.sha256(content).hexdigest()
            blob.parent.mkdir(exist_ok=True)
            blob.write_bytes(content)
            file.symlink_to(os.path.relpath(blob, file.parent))
        else:
            file.write_bytes(content)
    (entry / "refs").mkdir(exist_ok=True)
    (entry / "refs" / "main").write_text(commit)
    return snapshot


def use_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without models, whose home is a folder of the test."""
    for name in ("OLLAMA_MODELS", "LLAMA_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    hub = folder / ".cache" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(hub))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub))
    monkeypatch.setattr("models.found.ollama.SERVICE_FOLDER", folder / "service")
    return folder
