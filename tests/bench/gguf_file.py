"""Writes a Llama or Qwen3-MoE checkpoint as one GGUF file for llama.cpp: float32 or Q4_0, without a vocabulary."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, GGMLQuantizationType, GGUFWriter, LlamaFileType, get_tensor_name_map
from gguf.quants import quantize
from numpy.typing import NDArray
from safetensors.numpy import load_file

KINDS = {
    "F32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "Q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}


ARCHITECTURES = {"llama": MODEL_ARCH.LLAMA, "qwen3_moe": MODEL_ARCH.QWEN3MOE}
"""llama.cpp's architecture by `model_type`."""

_EXPERT = re.compile(r"\.experts\.\d+\.")


def write_gguf(folder: Path, file: Path, kind: str) -> None:
    """Writes the checkpoint in `folder` to `file`: all matrices in one of `KINDS`, norms and routers in float32."""
    config = json.loads((folder / "config.json").read_text())
    stored, file_type = KINDS[kind]
    architecture = ARCHITECTURES[config["model_type"]]
    writer = GGUFWriter(file, MODEL_ARCH_NAMES[architecture])
    writer.add_file_type(file_type)
    writer.add_quantization_version(2)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    if architecture is MODEL_ARCH.QWEN3MOE:
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
        writer.add_expert_count(config["num_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    writer.add_tokenizer_model("no_vocab")
    names = get_tensor_name_map(architecture, config["num_hidden_layers"])
    for name, weight in _stacked(load_file(folder / "model.safetensors")):
        gguf_name = names.get_name(name, try_suffixes=(".weight",))
        assert gguf_name is not None, f"GGUF has no name for {name}"
        if weight.ndim == 1 or name.endswith("mlp.gate.weight"):
            writer.add_tensor(gguf_name, weight)
        else:
            rows = _interleaved(name, weight, config) if architecture is MODEL_ARCH.LLAMA else weight
            writer.add_tensor(gguf_name, quantize(rows, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _stacked(weights: dict[str, NDArray[np.float32]]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Every tensor; those of a layer's experts as one, since llama.cpp has one for all of them."""
    names: dict[str, list[str]] = {}
    for name in sorted(weights, key=_expert_of):
        names.setdefault(_EXPERT.sub(".experts.", name), []).append(name)
    for name, parts in names.items():
        yield name, weights[name] if parts == [name] else np.stack([weights[part] for part in parts])


def _expert_of(name: str) -> int:
    match = _EXPERT.search(name)
    return int(match[0].split(".")[2]) if match else -1


def _interleaved(name: str, weight: NDArray[np.float32], config: dict[str, int]) -> NDArray[np.float32]:
    """Rows of queries and keys in llama.cpp's order: it rotates neighboring features, Hugging Face halves of a head."""
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}.get(name.split(".")[-2])
    if heads is None:
        return weight
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
