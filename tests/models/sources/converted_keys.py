"""The keys that llama.cpp's `convert_hf_to_gguf.py` writes for a config of Hugging Face, by its own rules."""

import math
from collections.abc import Callable
from typing import Any

from gguf import GGUFWriter, RopeScalingType

Config = dict[str, Any]


def write_keys(writer: GGUFWriter, config: Config) -> None:
    """Writes the keys of a decoder, without those of its tokenizer."""
    own = _OWN.get(config["model_type"])
    if own is None or config["model_type"] not in _ALONE:
        _write_usual(writer, config)
    if own is not None:
        own(writer, config)


def _write_usual(writer: GGUFWriter, config: Config) -> None:
    """What `TextModel.set_gguf_parameters` writes."""
    _write_sizes(writer, config)
    writer.add_head_count_kv(config.get("num_key_value_heads") or config["num_attention_heads"])
    rope = config.get("rope_parameters") or {}
    far: Config = rope.get("full_attention") or rope
    _write_scaling(writer, far)
    if (base := far.get("rope_theta")) is not None:
        writer.add_rope_freq_base(base)
    if (near := rope.get("sliding_attention", {}).get("rope_theta")) is not None:
        writer.add_rope_freq_base_swa(near)
    if (eps := config.get("rms_norm_eps", config.get("norm_eps"))) is not None:
        writer.add_layer_norm_rms_eps(eps)
    if (eps := config.get("layer_norm_eps", config.get("norm_epsilon"))) is not None:
        writer.add_layer_norm_eps(eps)
    if (experts := config.get("num_local_experts", config.get("num_experts"))) is not None:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config["num_experts_per_tok"])
    if (size := config.get("head_dim")) is not None and config["model_type"] not in ("granite", "granitemoe"):
        writer.add_key_length(size)
        writer.add_value_length(size)


def _write_sizes(writer: GGUFWriter, config: Config) -> None:
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])


def _write_scaling(writer: GGUFWriter, rope: Config) -> None:
    kind = rope.get("rope_type")
    if kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif kind == "yarn":
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        if (amplitude := rope.get("attention_factor")) is not None:
            writer.add_rope_scaling_yarn_attn_factor(amplitude)
        if (fast := rope.get("beta_fast")) is not None:
            writer.add_rope_scaling_yarn_beta_fast(fast)
        if (slow := rope.get("beta_slow")) is not None:
            writer.add_rope_scaling_yarn_beta_slow(slow)


def _rotated(config: Config, share: float) -> int:
    """The number of rotated features as most converters compute it: from sizes of the residual stream."""
    return int(share * config["hidden_size"]) // int(config["num_attention_heads"])


def _share(config: Config, absent: float = 1.0) -> float:
    return float((config.get("rope_parameters") or {}).get("partial_rotary_factor") or absent)


def _llama(writer: GGUFWriter, config: Config) -> None:
    writer.add_vocab_size(config["vocab_size"])
    even = config["hidden_size"] // config["num_attention_heads"]
    writer.add_rope_dimension_count(config.get("head_dim") or even)


def _granite(writer: GGUFWriter, config: Config) -> None:
    _llama(writer, config | {"head_dim": None})
    writer.add_attention_scale(config["attention_multiplier"])
    writer.add_embedding_scale(config["embedding_multiplier"])
    writer.add_residual_scale(config["residual_multiplier"])
    writer.add_logit_scale(config["logits_scaling"])


def _ministral3(writer: GGUFWriter, config: Config) -> None:
    _llama(writer, config)
    rope = config["rope_parameters"]
    writer.add_rope_scaling_yarn_log_mul(rope["mscale_all_dim"])
    writer.add_attn_temperature_scale(rope["llama_4_scaling_beta"])


def _moe(writer: GGUFWriter, config: Config) -> None:
    writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if (shared := config.get("shared_expert_intermediate_size")) is not None:
        writer.add_expert_shared_feed_forward_length(shared)


def _gpt_oss(writer: GGUFWriter, config: Config) -> None:
    writer.add_sliding_window(config["sliding_window"])
    writer.add_expert_feed_forward_length(config["intermediate_size"])


def _gemma(writer: GGUFWriter, config: Config) -> None:
    """Gemma 1 and 2."""
    _write_sizes(writer, config)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    if config["model_type"] == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
        writer.add_sliding_window(config["sliding_window"])


def _gemma3(writer: GGUFWriter, config: Config) -> None:
    if cap := config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(cap)
    if "sliding_attention" in config["layer_types"]:
        writer.add_sliding_window(config["sliding_window"])


def _phi2(writer: GGUFWriter, config: Config) -> None:
    _write_sizes(writer, config)
    writer.add_head_count_kv(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_rope_dimension_count(_rotated(config, _share(config)))


def _phi3(writer: GGUFWriter, config: Config) -> None:
    _write_sizes(writer, config)
    original = config["original_max_position_embeddings"]
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(_rotated(config, _share(config)))
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_sliding_window(config.get("sliding_window") or 0)
    if config["rope_parameters"]["rope_type"] == "longrope":
        scale = config["max_position_embeddings"] / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0)


def _gpt2(writer: GGUFWriter, config: Config) -> None:
    writer.add_block_count(config["n_layer"])
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])


def _gpt_neox(writer: GGUFWriter, config: Config) -> None:
    _write_sizes(writer, config)
    even = config["hidden_size"] // config["num_attention_heads"]
    writer.add_rope_dimension_count(int(_share(config, 0.25) * even))
    writer.add_parallel_residual(config["use_parallel_residual"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])


def _stablelm(writer: GGUFWriter, config: Config) -> None:
    _gpt_neox(writer, config)
    writer.add_head_count_kv(config["num_key_value_heads"])


def _olmo3(writer: GGUFWriter, config: Config) -> None:
    writer.add_sliding_window(config["sliding_window"])
    writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in config["layer_types"]])


def _olmoe(writer: GGUFWriter, config: Config) -> None:
    """The converter leaves out the clipping, which the key for it is of, and which llama.cpp does not read here."""
    if config.get("clip_qkv") is not None:
        writer.add_clamp_kqv(config["clip_qkv"])


def _exaone4(writer: GGUFWriter, config: Config) -> None:
    writer.add_vocab_size(config["vocab_size"])
    if config.get("sliding_window") is not None:
        _olmo3(writer, config)


def _glm4(writer: GGUFWriter, config: Config) -> None:
    writer.add_rope_dimension_count(int(config["head_dim"] * _share(config, 0.5)))


def _hunyuan(writer: GGUFWriter, config: Config) -> None:
    rope = config["rope_parameters"]
    if rope["rope_type"] == "dynamic":
        size = config["head_dim"]
        writer.add_rope_freq_base(rope["rope_theta"] * rope["alpha"] ** (size / (size - 2)))
        writer.add_rope_scaling_type(RopeScalingType.NONE)
        writer.add_rope_scaling_factor(1)
        writer.add_rope_scaling_orig_ctx_len(256 * 1024)
        writer.add_context_length(256 * 1024)


def _nemotron(writer: GGUFWriter, config: Config) -> None:
    writer.add_vocab_size(config["vocab_size"])
    writer.add_layer_norm_eps(config["norm_eps"])
    writer.add_rope_dimension_count(_rotated(config, _share(config, 0.5)))
    writer.add_rope_scaling_type(RopeScalingType.NONE)


def _cohere2(writer: GGUFWriter, config: Config) -> None:
    writer.add_logit_scale(config["logit_scale"])
    writer.add_sliding_window(config["sliding_window"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_rope_scaling_type(RopeScalingType.NONE)


_OWN: dict[str, Callable[[GGUFWriter, Config], None]] = {
    **dict.fromkeys(("llama", "mistral", "mixtral", "smollm3", "arcee"), _llama),
    **dict.fromkeys(("granite", "granitemoe"), _granite),
    **dict.fromkeys(("qwen2_moe", "qwen3_moe"), _moe),
    **dict.fromkeys(("gemma", "gemma2"), _gemma),
    "ministral3": _ministral3,
    "gpt_oss": _gpt_oss,
    "gemma3_text": _gemma3,
    "phi": _phi2,
    "phi3": _phi3,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "stablelm": _stablelm,
    "olmo3": _olmo3,
    "olmoe": _olmoe,
    "exaone4": _exaone4,
    "glm4": _glm4,
    "hunyuan_v1_dense": _hunyuan,
    "nemotron": _nemotron,
    "cohere2": _cohere2,
}
"""Keys that one `model_type` has besides the usual ones."""

_ALONE = frozenset({"gemma", "gemma2", "phi", "phi3", "gpt2", "gpt_neox", "stablelm"})
"""Those whose converters write all keys themselves."""
