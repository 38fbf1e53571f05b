"""What each architecture of GGUF files has besides what most share: its family, and keys by the names of that."""

from collections.abc import Callable, Mapping

from models.families.attention_windows import FULL
from models.sources.gguf.keys import GgufKeys
from models.sources.gguf.mixtures import gpt_oss, granite, granitemoe, mixtral, olmoe, qwen2moe, qwen3moe
from models.sources.gguf.rope import original_context_of
from models.sources.gguf.sizes import (
    Keys,
    biases_of,
    has_query_bias,
    head_dim_of,
    kinds_of_layers,
    n_layers_of,
    optional_window_of,
    partly_rotated_heads,
    rms_norm_of,
    rotated_heads,
    width_of,
)


def _of_llama(keys: GgufKeys) -> Keys:
    """What families that build on Llama share."""
    return rms_norm_of(keys) | rotated_heads(keys) | width_of(keys) | biases_of(keys) | {"hidden_act": "silu"}


def _llama(keys: GgufKeys) -> Keys:
    """Llama, with experts Mixtral; also Mistral, whose window the file does not state."""
    mixed = keys.has("blk.0.ffn_gate_inp.weight") or keys.whole("expert_count", 0, least=0)
    return mixtral(keys) if mixed else _of_llama(keys) | {"model_type": "llama"}


def _mistral3(keys: GgufKeys) -> Keys:
    """Ministral 3; without its growing queries Mistral 3, which is Llama."""
    beta = keys.factor("attention.temperature_scale")
    if beta is None:
        return _llama(keys)
    queries = {"llama_4_scaling_beta": beta, "original_max_position_embeddings": original_context_of(keys)}
    return _of_llama(keys) | {"model_type": "ministral3", "sliding_window": None, "rope_scaling": queries}


def _qwen2(keys: GgufKeys) -> Keys:
    return _of_llama(keys) | {"model_type": "qwen2", "use_sliding_window": False}


def _qwen3(keys: GgufKeys) -> Keys:
    return _qwen2(keys) | {"model_type": "qwen3"}


def _gemma(keys: GgufKeys) -> Keys:
    return _of_llama(keys) | {"model_type": "gemma", "hidden_act": "gelu_pytorch_tanh"}


def _scores_of(keys: GgufKeys, largest: int) -> int:
    """What scores are divided by the root of: the largest model of its family has another than its head size."""
    even = keys.whole("embedding_length") // keys.whole("attention.head_count")
    return even if n_layers_of(keys) == largest else head_dim_of(keys)


def _gemma2(keys: GgufKeys) -> Keys:
    return _of_llama(keys) | {
        "model_type": "gemma2",
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": _scores_of(keys, 46),
        "sliding_window": keys.whole("attention.sliding_window", 4096),
        "layer_types": kinds_of_layers(keys, 2),
        "attn_logit_softcapping": keys.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": keys.number("final_logit_softcapping", 30.0),
    }


def _gemma3(keys: GgufKeys) -> Keys:
    """Gemma 3, of which only full layers have a scaling; without a window all layers are full."""
    window = optional_window_of(keys)
    return _of_llama(keys) | {
        "model_type": "gemma3_text",
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": _scores_of(keys, 62),
        "rope_local_base_freq": keys.number("rope.freq_base_swa", 10_000.0),
        "sliding_window": window,
        "layer_types": kinds_of_layers(keys, 6) if window else [FULL] * n_layers_of(keys),
        "final_logit_softcapping": keys.factor("final_logit_softcapping"),
    }


def _phi2(keys: GgufKeys) -> Keys:
    eps = {"layer_norm_eps": keys.number("attention.layer_norm_epsilon")}
    fixed = {"model_type": "phi", "hidden_act": "gelu_new", "qk_layernorm": False}
    return partly_rotated_heads(keys) | width_of(keys) | eps | fixed


def _phi3(keys: GgufKeys) -> Keys:
    return (
        rms_norm_of(keys)
        | partly_rotated_heads(keys)
        | width_of(keys)
        | {
            "model_type": "phi3",
            "hidden_act": "silu",
            "sliding_window": optional_window_of(keys),
            "original_max_position_embeddings": original_context_of(keys),
        }
    )


def _gpt2(keys: GgufKeys) -> Keys:
    return {
        "model_type": "gpt2",
        "n_positions": keys.whole("context_length"),
        "n_embd": keys.whole("embedding_length"),
        "n_layer": n_layers_of(keys),
        "n_head": keys.whole("attention.head_count"),
        "n_inner": keys.whole("feed_forward_length"),
        "layer_norm_epsilon": keys.number("attention.layer_norm_epsilon"),
        "activation_function": "gelu_new",
    }


def _gptneox(keys: GgufKeys) -> Keys:
    return (
        partly_rotated_heads(keys, "rotary_pct")
        | width_of(keys)
        | {
            "model_type": "gpt_neox",
            "hidden_act": "gelu",
            "layer_norm_eps": keys.number("attention.layer_norm_epsilon"),
            "rotary_emb_base": keys.number("rope.freq_base", 10_000.0),
            "use_parallel_residual": keys.flag("use_parallel_residual", True),
            "attention_bias": has_query_bias(keys),
        }
    )


def _starcoder2(keys: GgufKeys) -> Keys:
    """StarCoder 2. The file does not state its window."""
    eps = {"norm_epsilon": keys.number("attention.layer_norm_epsilon")}
    fixed = {"model_type": "starcoder2", "hidden_act": "gelu_pytorch_tanh", "sliding_window": None}
    return rotated_heads(keys) | width_of(keys) | eps | fixed | {"use_bias": has_query_bias(keys)}


def _stablelm(keys: GgufKeys) -> Keys:
    """StableLM. Parallel layers have one norm; old files say true of all, and llama.cpp does not read the key."""
    return (
        partly_rotated_heads(keys)
        | width_of(keys)
        | {
            "model_type": "stablelm",
            "hidden_act": "silu",
            "layer_norm_eps": keys.number("attention.layer_norm_epsilon"),
            "use_qkv_bias": has_query_bias(keys),
            "use_parallel_residual": not keys.has("blk.0.ffn_norm.weight"),
            "qk_layernorm": keys.has("blk.0.attn_q_norm.weight"),
        }
    )


def _olmo2(keys: GgufKeys) -> Keys:
    """OLMo 2; with a window OLMo 3, of which only full layers have a scaling."""
    window = optional_window_of(keys)
    if window is None:
        return _of_llama(keys) | {"model_type": "olmo2"}
    near = {"rope_theta": keys.number("rope.freq_base_swa", keys.number("rope.freq_base", 10_000.0))}
    return _of_llama(keys) | {
        "model_type": "olmo3",
        "sliding_window": window,
        "layer_types": kinds_of_layers(keys, 4),
        "rope_parameters": {"sliding_attention": near},
    }


def _smollm3(keys: GgufKeys) -> Keys:
    return _of_llama(keys) | {"model_type": "smollm3", "no_rope_layer_interval": 4}


def _arcee(keys: GgufKeys) -> Keys:
    return _of_llama(keys) | {"model_type": "arcee", "hidden_act": "relu2"}


def _ernie4_5(keys: GgufKeys) -> Keys:
    return _of_llama(keys) | {"model_type": "ernie4_5", "use_bias": has_query_bias(keys)}


def _exaone4(keys: GgufKeys) -> Keys:
    window = optional_window_of(keys)
    kinds = kinds_of_layers(keys, 4) if window else [FULL] * n_layers_of(keys)
    return _of_llama(keys) | {"model_type": "exaone4", "sliding_window": window, "layer_types": kinds}


def _glm4(keys: GgufKeys) -> Keys:
    fixed = {"model_type": "glm4", "hidden_act": "silu", "attention_bias": has_query_bias(keys)}
    return rms_norm_of(keys) | partly_rotated_heads(keys) | width_of(keys) | fixed


def _hunyuan(keys: GgufKeys) -> Keys:
    """HunYuan, dense. The rotary base in the file has the scaling by `alpha` already."""
    return _of_llama(keys) | {"model_type": "hunyuan_v1_dense"}


def _nemotron(keys: GgufKeys) -> Keys:
    eps = {"norm_eps": keys.number("attention.layer_norm_epsilon")}
    fixed = {"model_type": "nemotron", "hidden_act": "relu2"}
    return partly_rotated_heads(keys) | width_of(keys) | biases_of(keys) | eps | fixed


def _seed_oss(keys: GgufKeys) -> Keys:
    return _of_llama(keys) | {"model_type": "seed_oss", "attention_out_bias": keys.has("blk.0.attn_output.bias")}


def _cohere2(keys: GgufKeys) -> Keys:
    return (
        rotated_heads(keys)
        | width_of(keys)
        | {
            "model_type": "cohere2",
            "hidden_act": "silu",
            "layer_norm_eps": keys.number("attention.layer_norm_epsilon"),
            "attention_bias": has_query_bias(keys),
            "sliding_window": keys.whole("attention.sliding_window"),
            "layer_types": kinds_of_layers(keys, 4),
            "logit_scale": keys.number("logit_scale"),
        }
    )


ARCHITECTURES: Mapping[str, Callable[[GgufKeys], Keys]] = {
    "llama": _llama,
    "mistral3": _mistral3,
    "qwen2": _qwen2,
    "qwen2moe": qwen2moe,
    "qwen3": _qwen3,
    "qwen3moe": qwen3moe,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "phi2": _phi2,
    "phi3": _phi3,
    "gpt2": _gpt2,
    "gptneox": _gptneox,
    "starcoder2": _starcoder2,
    "stablelm": _stablelm,
    "olmo2": _olmo2,
    "olmoe": olmoe,
    "granite": granite,
    "granitemoe": granitemoe,
    "smollm3": _smollm3,
    "gpt-oss": gpt_oss,
    "arcee": _arcee,
    "cohere2": _cohere2,
    "ernie4_5": _ernie4_5,
    "exaone4": _exaone4,
    "glm4": _glm4,
    "hunyuan-dense": _hunyuan,
    "nemotron": _nemotron,
    "seed_oss": _seed_oss,
}
"""The config of each architecture, by llama.cpp's name."""
