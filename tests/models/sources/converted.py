"""Converts a checkpoint folder into a GGUF file as llama.cpp does, without a vocabulary, and without Edge's tables.

Names of tensors come from the `gguf` package; keys and orders of rows from the rules of `convert_hf_to_gguf.py`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import (
    GGML_QUANT_SIZES,
    MODEL_ARCH,
    MODEL_ARCH_NAMES,
    GGMLQuantizationType,
    GGUFWriter,
    LlamaFileType,
    get_tensor_name_map,
)
from gguf.quants import dequantize, quantize
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.models.sources.converted_keys import Config, write_keys

Array = NDArray[Any]

Tensors = dict[str, Array]

ARCHITECTURES = {
    **dict.fromkeys(("llama", "mistral", "mixtral"), MODEL_ARCH.LLAMA),
    "ministral3": MODEL_ARCH.MISTRAL3,
    "qwen2": MODEL_ARCH.QWEN2,
    "qwen2_moe": MODEL_ARCH.QWEN2MOE,
    "qwen3": MODEL_ARCH.QWEN3,
    "qwen3_moe": MODEL_ARCH.QWEN3MOE,
    "gemma": MODEL_ARCH.GEMMA,
    "gemma2": MODEL_ARCH.GEMMA2,
    "gemma3_text": MODEL_ARCH.GEMMA3,
    "phi": MODEL_ARCH.PHI2,
    "phi3": MODEL_ARCH.PHI3,
    "gpt2": MODEL_ARCH.GPT2,
    "gpt_neox": MODEL_ARCH.GPTNEOX,
    "starcoder2": MODEL_ARCH.STARCODER2,
    "stablelm": MODEL_ARCH.STABLELM,
    **dict.fromkeys(("olmo2", "olmo3"), MODEL_ARCH.OLMO2),
    "olmoe": MODEL_ARCH.OLMOE,
    "granite": MODEL_ARCH.GRANITE,
    "granitemoe": MODEL_ARCH.GRANITE_MOE,
    "smollm3": MODEL_ARCH.SMOLLM3,
    "gpt_oss": MODEL_ARCH.GPT_OSS,
    "arcee": MODEL_ARCH.ARCEE,
    "cohere2": MODEL_ARCH.COHERE2,
    "ernie4_5": MODEL_ARCH.ERNIE4_5,
    "exaone4": MODEL_ARCH.EXAONE4,
    "glm4": MODEL_ARCH.GLM4,
    "hunyuan_v1_dense": MODEL_ARCH.HUNYUAN_DENSE,
    "nemotron": MODEL_ARCH.NEMOTRON,
    "seed_oss": MODEL_ARCH.SEED_OSS,
}
"""llama.cpp's architecture by `model_type`."""

_PERMUTED = frozenset({"llama", "mistral", "mixtral", "ministral3", "granite", "granitemoe", "smollm3", "arcee"})
"""Those whose queries and keys llama.cpp puts into the order in which it rotates neighboring features."""

_FLOATS = re.compile(r"_norm\.weight$|ffn_gate_inp|position_embd|attn_sinks|\.bias$|^rope_")
"""Tensors that stay in float32 in every file."""

Kinds = Callable[[str], str]
"""The type of a tensor by its name in the file."""


def write_gguf(
    folder: Path,
    file: Path,
    kinds: str | Kinds,
    rounded: Tensors | None = None,
) -> None:
    """Writes the checkpoint in `folder` to `file`.

    Args:
        kinds: The type of all matrices, or of each; norms, biases and routers are in float32 in any case.
        rounded: Receives the tensors of the folder with the weights that the file has.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder).to_dict()
    architecture = ARCHITECTURES[config["model_type"]]
    writer = GGUFWriter(file, MODEL_ARCH_NAMES[architecture])
    if isinstance(kinds, str) and f"MOSTLY_{kinds}" in LlamaFileType.__members__:
        writer.add_file_type(LlamaFileType[f"MOSTLY_{kinds}"])
    writer.add_quantization_version(2)
    write_keys(writer, config)
    writer.add_tokenizer_model("no_vocab")
    for name, tensor in _extra_tensors(config):
        writer.add_tensor(name, tensor)
    for name, tensor, kind in _converted(load_file(folder / "model.safetensors"), config, kinds, rounded):
        writer.add_tensor(name, tensor, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _converted(
    stored: Tensors, config: Config, kinds: str | Kinds, rounded: Tensors | None
) -> Iterator[tuple[str, Array, GGMLQuantizationType]]:
    """The tensors of the file, each with its type. Experts, and the norms of heads, are stacked."""
    model_type = config["model_type"]
    named = get_tensor_name_map(ARCHITECTURES[model_type], config.get("num_hidden_layers") or config["n_layer"])
    stacks: dict[str, list[tuple[int, Array, GGMLQuantizationType]]] = {}
    for name in list(stored):
        tensor = stored.pop(name).astype(np.float32)
        turned = _turned(name, tensor, model_type)
        for number, (mapped, rows) in enumerate(_pieces(name, config)):
            stem, index = _without_index(mapped)
            theirs = named.get_name(stem, try_suffixes=(".weight", ".bias"))
            assert theirs is not None, f"GGUF has no name for {stem}"
            kind = _kind_of(theirs, turned, kinds)
            if number == 0:
                whole = _quantized(name, turned, kind)
                if rounded is not None:
                    weights = dequantize(whole, kind).reshape(turned.shape)
                    rounded[name] = np.ascontiguousarray(_turned(name, weights, model_type))
            piece = rows(whole) + np.float32(_added(name, model_type)) if kind.name == "F32" else rows(whole)
            if index is None:
                yield theirs, np.ascontiguousarray(piece), kind
            else:
                stacks.setdefault(theirs, []).append((index, piece, kind))
    for theirs, parts in stacks.items():
        parts.sort(key=lambda part: part[0])
        yield theirs, np.stack([part for _, part, _ in parts]), parts[0][2]


def _kind_of(name: str, tensor: Array, kinds: str | Kinds) -> GGMLQuantizationType:
    kind = GGMLQuantizationType[kinds if isinstance(kinds, str) else kinds(name)]
    fits = tensor.ndim > 1 and tensor.shape[-1] % GGML_QUANT_SIZES[kind][0] == 0 and not _FLOATS.search(name)
    return kind if fits else GGMLQuantizationType.F32


def _quantized(name: str, tensor: Array, kind: GGMLQuantizationType) -> Array:
    """The blocks of a tensor. For types that the package only reads, random ones; the file counts, not the folder."""
    if not kind.name.endswith("_K"):
        return quantize(np.ascontiguousarray(tensor), kind)
    drawn = np.random.default_rng(list(name.encode()))
    weights, in_bytes = GGML_QUANT_SIZES[kind]
    blocks = drawn.integers(0, 256, (*tensor.shape[:-1], tensor.shape[-1] // weights, in_bytes), np.uint8)
    for at in _SCALES[kind.name]:
        scales = (drawn.uniform(0.5, 1.0, blocks.shape[:-1]) * _SIZES[kind.name]).astype(np.float16)
        blocks[..., at : at + 2] = scales[..., None].view(np.uint8)
    return blocks.reshape(*tensor.shape[:-1], -1)


_SCALES = {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}
"""Where blocks have their scales, as float16."""

_SIZES = {"Q4_K": 0.0005, "Q5_K": 0.00025, "Q6_K": 0.0001}
"""Scales that give weights of about 0.2."""


def _turned(name: str, tensor: Array, model_type: str) -> Array:
    """A matrix as (output, input), which GPT-2 and the experts of gpt-oss store the other way round."""
    conv = model_type == "gpt2" and re.search(r"\.(c_attn|c_proj|c_fc)\.weight$", name)
    stack = model_type == "gpt_oss" and re.search(r"\.experts\.(gate_up|down)_proj$", name)
    return np.swapaxes(tensor, -1, -2) if conv or stack else tensor


def _added(name: str, model_type: str) -> float:
    """What is added to weights of norms that checkpoints store less 1."""
    return 1.0 if model_type.startswith(("gemma", "nemotron")) and name.endswith("norm.weight") else 0.0


def _without_index(name: str) -> tuple[str, int | None]:
    """The name of a stack, and the place in it: of an expert, or of the norm of a head."""
    if match := re.search(r"\.(experts|norms)\.(\d+)\.", name):
        kept = ".experts." if match[1] == "experts" else "."
        return name.replace(match[0], kept), int(match[2])
    return name, None


Rows = Callable[[Array], Array]


def _pieces(name: str, config: Config) -> list[tuple[str, Rows]]:
    """The tensors that one becomes, by names that the map of the package has, and the rows of each."""
    model_type = config["model_type"]
    if model_type in _PERMUTED and (side := re.search(r"\.(q|k)_proj\.", name)):
        heads = config["num_attention_heads"]
        n_heads = heads if side[1] == "q" else config.get("num_key_value_heads") or heads
        return [(name, lambda rows: _permuted(rows, n_heads))]
    if model_type == "gpt_neox" and "query_key_value" in name:
        return [(name, lambda rows: _three_in_turn(rows, config["num_attention_heads"]))]
    if name.endswith("block_sparse_moe.input_linear.weight"):
        return _halves(
            name.replace("block_sparse_moe.input_linear", "mlp.experts.{}_proj"), config["intermediate_size"]
        )
    if model_type == "gpt_oss" and (part := re.search(r"experts\.(gate_up|down)_proj(_bias)?$", name)):
        kind = "bias" if part[2] else "weight"
        stem = name[: part.start()] + "experts.{}_proj." + kind
        if part[1] == "down":
            return [(stem.format("down"), lambda rows: rows)]
        return [(stem.format("gate"), lambda rows: rows[:, ::2]), (stem.format("up"), lambda rows: rows[:, 1::2])]
    return [(f"{name}.weight" if name.endswith("sinks") else name, lambda rows: rows)]


def _halves(name: str, width: int) -> list[tuple[str, Rows]]:
    """Gates above ups in a stack, as two stacks."""
    return [(name.format("gate"), lambda rows: rows[:, :width]), (name.format("up"), lambda rows: rows[:, width:])]


def _permuted(rows: Array, n_heads: int) -> Array:
    """Halves of each head, interleaved."""
    return rows.reshape(n_heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def _three_in_turn(rows: Array, n_heads: int) -> Array:
    """All queries, then all keys, then all values, from rows that have the three of one head after another."""
    return rows.reshape(n_heads, 3, -1, *rows.shape[1:]).swapaxes(0, 1).reshape(rows.shape)


def _extra_tensors(config: Config) -> Iterator[tuple[str, Array]]:
    """Divisors of rotary angles, which the keys do not have."""
    rope: Mapping[str, Any] = config.get("rope_parameters") or {}
    if rope.get("rope_type") == "llama3":
        size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        yield "rope_freqs.weight", _llama3_divisors(rope, size)
    if rope.get("rope_type") == "longrope":
        yield "rope_factors_long.weight", np.array(rope["long_factor"], np.float32)
        yield "rope_factors_short.weight", np.array(rope["short_factor"], np.float32)


def _llama3_divisors(rope: Mapping[str, Any], size: int) -> Array:
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    original, divisors = rope["original_max_position_embeddings"], []
    for angle in rope["rope_theta"] ** (-np.arange(0, size, 2) / size):
        length = 2 * np.pi / angle
        smooth = (original / length - low) / (high - low)
        if length < original / high:
            divisors.append(1.0)
        elif length > original / low:
            divisors.append(factor)
        else:
            divisors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(divisors, np.float32)
