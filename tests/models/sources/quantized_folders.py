"""Tiny checkpoints with quantized linear layers, stored by the published rules, and the same with dense weights."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    Phi3Config,
    PretrainedConfig,
)

import edge
from models.checkpoint import Checkpoint, open_checkpoint
from models.errors import EdgeError
from tests.reference import reference_logits, write_reference

IDS = [3, 1, 41, 59, 26, 5, 35, 89, 79]

WEIGHTS = "model.safetensors"

QUERY = "model.layers.0.self_attn.q_proj"
"""A module of every Llama here."""

Tensors = dict[str, np.ndarray]

_SMALL = {"vocab_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
_NARROW = _SMALL | {"hidden_size": 64, "intermediate_size": 128, "bos_token_id": 0, "eos_token_id": 0}

CONFIGS: Mapping[str, Callable[[], PretrainedConfig]] = {
    "llama": lambda: LlamaConfig(**_SMALL, hidden_size=128, intermediate_size=256, pad_token_id=None),
    "phi3": lambda: Phi3Config(**_NARROW, pad_token_id=None),
    "gpt2": lambda: GPT2Config(vocab_size=96, n_layer=2, n_positions=64, n_embd=64, n_head=4),
    "gpt_neox": lambda: GPTNeoXConfig(
        vocab_size=96, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
    ),
    "granite": lambda: GraniteConfig(
        **_NARROW, embedding_multiplier=3.0, residual_multiplier=0.4, attention_multiplier=0.2, logits_scaling=2.0
    ),
}
"""Decoders with separate, fused, transposed and interleaved tensors, and with multipliers."""


@dataclass(frozen=True)
class Settings:
    """How one module is quantized; `group` -1 is a whole row."""

    bits: int = 4
    group: int = 32
    shuffled: bool = False
    symmetric: bool = False


@dataclass(frozen=True)
class Quantized:
    """A quantized matrix as in the papers: `weight = scale · (code - zero)`, with the group of each column."""

    bits: int
    codes: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    groups: np.ndarray

    def dense(self) -> np.ndarray:
        scales, zeros = (part.astype(np.float32)[:, self.groups] for part in (self.scales, self.zeros))
        return scales * (self.codes - zeros)


def random_quantized(random: np.random.Generator, rows: int, columns: int, settings: Settings) -> Quantized:
    group = columns if settings.group == -1 else settings.group
    groups = np.arange(columns, dtype=np.int32) // group
    zeros = random.integers(0, 1 << settings.bits, (rows, columns // group), np.uint8)
    return Quantized(
        settings.bits,
        random.integers(0, 1 << settings.bits, (rows, columns), np.uint8),
        (random.uniform(0.5, 1.5, zeros.shape) * 0.3 / (1 << settings.bits)).astype(np.float16),
        np.full_like(zeros, 1 << settings.bits - 1) if settings.symmetric else zeros,
        random.permutation(groups) if settings.shuffled else groups,
    )


def words_of(codes: np.ndarray, bits: int) -> np.ndarray:
    """Rows of codes as int32: their bits follow one another, the lowest first."""
    each = np.unpackbits(codes.astype(np.uint8)[..., None], axis=-1, count=bits, bitorder="little")
    stream = each.reshape(len(codes), -1)
    stream = np.pad(stream, ((0, 0), (0, -stream.shape[1] % 32)))
    return np.packbits(stream, axis=-1, bitorder="little").view("<i4")


Store = Callable[[Quantized], Tensors]
Choose = Callable[[str], Settings | None]


def write_folders(
    config: PretrainedConfig, folder: Path, store: Store, table: Mapping[str, Any], choose: Choose
) -> tuple[Path, Path]:
    """A checkpoint with quantized layers, and the same with dense ones.

    Args:
        store: The tensors of a module by the last part of their names.
        table: `quantization_config`.
        choose: How each module is quantized; None for a dense one.
    """
    write_reference(config, folder / "dense")
    random = np.random.default_rng(0)
    dense, quantized = load_file(folder / "dense" / WEIGHTS), {}
    for name, tensor in dense.items():
        module = name.removesuffix(".weight")
        is_linear = tensor.ndim == 2 and (".layers." in name or ".h." in name)
        settings = choose(module) if is_linear else None
        if settings is None:
            quantized[name] = tensor
            continue
        is_turned = config.model_type == "gpt2"
        rows, columns = tensor.shape[::-1] if is_turned else tensor.shape
        matrix = random_quantized(random, rows, columns, settings)
        dense[name] = np.ascontiguousarray(matrix.dense().T if is_turned else matrix.dense())
        quantized |= {f"{module}.{part}": np.ascontiguousarray(value) for part, value in store(matrix).items()}
    save_file(dense, folder / "dense" / WEIGHTS, {"format": "pt"})
    keys = json.loads((folder / "dense" / "config.json").read_text())
    (folder / "quantized").mkdir()
    save_file(quantized, folder / "quantized" / WEIGHTS, {"format": "pt"})
    (folder / "quantized" / "config.json").write_text(json.dumps(keys | {"quantization_config": dict(table)}))
    return folder / "quantized", folder / "dense"


def check_equal(quantized: Path, dense: Path) -> Checkpoint:
    """Every parameter is bit for bit that of the dense checkpoint; each has its share of the file."""
    held, want = open_checkpoint(quantized), open_checkpoint(dense).weights
    assert held.quantized, "nothing is read as quantized"
    assert held.weights.keys() == want.keys()
    for name, array in want.items():
        assert np.array_equal(held.weights[name], array), f"'{name}' differs from the weights that were stored"
    return held


def check_logits(quantized: Path, dense: Path) -> None:
    """The torch engine computes what transformers does with the dense weights."""
    want = reference_logits(AutoModelForCausalLM.from_pretrained(dense).eval(), IDS)
    with edge.load(quantized, "torch", threads=1) as model:
        assert model.checkpoint.quantized, "nothing is read as quantized"
        worst = float(np.abs(model.logits(IDS) - want).max())
    assert worst < 2e-4 * max(1.0, float(np.abs(want).max())), f"the torch engine leaves transformers by {worst:.2g}"


def change_table(folder: Path, **keys: object) -> None:
    """Sets keys of `quantization_config`; None removes one."""
    config = json.loads((folder / "config.json").read_text())
    table = config["quantization_config"] | keys
    config["quantization_config"] = {key: value for key, value in table.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))


def change_tensors(folder: Path, **tensors: np.ndarray | None) -> None:
    """Sets tensors of the query module of the first layer; None removes one."""
    stored: dict[str, np.ndarray | None] = load_file(folder / WEIGHTS)
    stored |= {f"{QUERY}.{part}": value for part, value in tensors.items()}
    save_file({name: value for name, value in stored.items() if value is not None}, folder / WEIGHTS)


def tensor(folder: Path, part: str) -> np.ndarray:
    """A tensor of the query module of the first layer."""
    return load_file(folder / WEIGHTS)[f"{QUERY}.{part}"]


def refusal(folder: Path) -> str:
    """The sentence with which a folder is refused."""
    with pytest.raises(EdgeError) as refused:
        open_checkpoint(folder)
    return str(refused.value)
