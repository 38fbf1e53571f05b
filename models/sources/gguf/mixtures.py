"""The keys of mixtures of experts in GGUF files, by the names of Hugging Face."""

from models.sources.gguf.keys import GgufKeys
from models.sources.gguf.sizes import (
    Keys,
    biases_of,
    has_query_bias,
    kinds_of_layers,
    rms_norm_of,
    rotated_heads,
    width_of,
)


def _experts(keys: GgufKeys, count: str) -> Keys:
    """The experts of a layer, and how many a token uses; `count` is the config key of their number."""
    n_experts = keys.whole("expert_count")
    used = keys.whole("expert_used_count")
    if used > n_experts:
        raise keys.refusal("expert_used_count", f"at most 'expert_count', which is {n_experts}")
    return {count: n_experts, "num_experts_per_tok": used}


def _of_llama(keys: GgufKeys) -> Keys:
    return rms_norm_of(keys) | rotated_heads(keys) | {"hidden_act": "silu"}


def mixtral(keys: GgufKeys) -> Keys:
    """Mixtral, which has the architecture of Llama. The file does not state its window."""
    experts = _experts(keys, "num_local_experts") | width_of(keys)
    return _of_llama(keys) | experts | {"model_type": "mixtral", "sliding_window": None}


def _of_qwen(keys: GgufKeys) -> Keys:
    """Experts of Qwen, beside whose width the file states that of layers without experts, of which it has none."""
    width = keys.whole("expert_feed_forward_length")
    widths = {"moe_intermediate_size": width, "intermediate_size": keys.whole("feed_forward_length", width)}
    return _of_llama(keys) | _experts(keys, "num_experts") | widths | {"use_sliding_window": False}


def qwen2moe(keys: GgufKeys) -> Keys:
    shared = {"shared_expert_intermediate_size": keys.whole("expert_shared_feed_forward_length")}
    fixed = {"model_type": "qwen2_moe", "norm_topk_prob": False, "qkv_bias": has_query_bias(keys)}
    return _of_qwen(keys) | shared | fixed


def qwen3moe(keys: GgufKeys) -> Keys:
    fixed = {"model_type": "qwen3_moe", "norm_topk_prob": True, "attention_bias": has_query_bias(keys)}
    return _of_qwen(keys) | fixed


def olmoe(keys: GgufKeys) -> Keys:
    fixed = {"model_type": "olmoe", "norm_topk_prob": False, "attention_bias": has_query_bias(keys)}
    clip = {"clip_qkv": keys.factor("attention.clamp_kqv")}
    return _of_llama(keys) | _experts(keys, "num_experts") | width_of(keys) | fixed | clip


def granite(keys: GgufKeys) -> Keys:
    """Granite without experts, with its four multipliers."""
    multipliers = {
        "attention_multiplier": keys.factor("attention.scale"),
        "embedding_multiplier": keys.factor("embedding_scale") or 1.0,
        "residual_multiplier": keys.factor("residual_scale") or 1.0,
        "logits_scaling": keys.factor("logit_scale") or 1.0,
    }
    found = _of_llama(keys) | biases_of(keys) | width_of(keys) | multipliers | {"model_type": "granite"}
    if multipliers["attention_multiplier"] is None:
        found["attention_multiplier"] = found["head_dim"] ** -0.5
    return found


def granitemoe(keys: GgufKeys) -> Keys:
    return granite(keys) | _experts(keys, "num_local_experts") | {"model_type": "granitemoe"}


def gpt_oss(keys: GgufKeys) -> Keys:
    """gpt-oss. Its YaRN interpolates between whole numbers of rotations or not, which the file does not state."""
    return (
        rms_norm_of(keys)
        | rotated_heads(keys)
        | _experts(keys, "num_local_experts")
        | {
            "model_type": "gpt_oss",
            "intermediate_size": keys.whole("expert_feed_forward_length"),
            "attention_bias": has_query_bias(keys),
            "sliding_window": keys.whole("attention.sliding_window"),
            "layer_types": kinds_of_layers(keys, 2),
            "rope_scaling": {"truncate": False},
        }
    )
