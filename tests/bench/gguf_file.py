"""Writes a Llama checkpoint as one GGUF file for llama.cpp: float32 or Q4_0, without a vocabulary."""

import json
from pathlib import Path

import numpy as np
from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, LlamaFileType, get_tensor_name_map
from gguf.quants import quantize
from numpy.typing import NDArray
from safetensors.numpy import load_file

KINDS = {
    "F32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "Q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}


def write_gguf(folder: Path, file: Path, kind: str) -> None:
    """Writes the checkpoint in `folder` to `file`: all matrices in one of `KINDS`, norms in float32."""
    config = json.loads((folder / "config.json").read_text())
    stored, file_type = KINDS[kind]
    writer = GGUFWriter(file, "llama")
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
    writer.add_tokenizer_model("no_vocab")
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, weight in load_file(folder / "model.safetensors").items():
        gguf_name = names.get_name(name, try_suffixes=(".weight",))
        assert gguf_name is not None, f"GGUF has no name for {name}"
        if weight.ndim == 1:
            writer.add_tensor(gguf_name, weight)
        else:
            writer.add_tensor(gguf_name, quantize(_interleaved(name, weight, config), stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _interleaved(name: str, weight: NDArray[np.float32], config: dict[str, int]) -> NDArray[np.float32]:
    """Rows of queries and keys in llama.cpp's order: it rotates neighboring features, Hugging Face halves of a head."""
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}.get(name.split(".")[-2])
    if heads is None:
        return weight
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
