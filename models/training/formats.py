"""A trained decoder in the names of transformers: as GPT-NeoX, or as GraniteMoe if its FFNs have experts."""

from collections.abc import Mapping
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import SpecError
from models.families import gpt_neox, granitemoe
from models.families.stacks import Interleaved
from models.families.views import ThirdOfHeads
from models.spec import Activation, DecoderSpec, Gated, LayerNorm, MoE, Plain, RMSNorm, Rotary, Sequential, TopFirst

Weights = Mapping[str, NDArray[np.float32]]

_HIDDEN_ACT = {
    Activation.RELU: "relu",
    Activation.GELU: "gelu",
    Activation.GELU_TANH: "gelu_new",
    Activation.SILU: "silu",
}


def config_of(spec: DecoderSpec, end: int) -> dict[str, Any]:
    """The `config.json` of a spec; `end` is the token at which a text begins and ends.

    Raises:
        SpecError: neither GPT-NeoX nor GraniteMoe can express the spec.
    """
    if any(other != spec.layers[0] for other in spec.layers) or spec.layers[0].attention.sharing > 1:
        raise SpecError("GPT-NeoX and GraniteMoe repeat one layer, here with a key head for every query head")
    return _common(spec, end) | (_granite_config(spec) if _has_experts(spec) else _neox_config(spec))


def stored_weights(spec: DecoderSpec, ours: Weights) -> dict[str, NDArray[np.float32]]:
    """Every parameter under its name in transformers."""
    return _granite_weights(spec, ours) if _has_experts(spec) else _neox_weights(spec, ours)


def _has_experts(spec: DecoderSpec) -> bool:
    return isinstance(spec.layers[0].ffn, MoE)


def _common(spec: DecoderSpec, end: int) -> dict[str, Any]:
    attention = spec.layers[0].attention
    return {
        "attention_bias": attention.qkv_bias,
        "bos_token_id": end,
        "dtype": "float16",
        "eos_token_id": end,
        "hidden_size": spec.d_model,
        "max_position_embeddings": spec.context,
        "num_attention_heads": attention.n_heads,
        "num_hidden_layers": spec.n_layers,
        "tie_word_embeddings": spec.tied,
        "torch_dtype": "float16",
        "use_cache": True,
        "vocab_size": spec.vocab_size,
    }


def _neox_config(spec: DecoderSpec) -> dict[str, Any]:
    """Rotary sizes have both their old and their new keys."""
    layer, attention = spec.layers[0], spec.layers[0].attention
    ffn, position, norm = layer.ffn, attention.position, layer.norm
    if not (isinstance(ffn, Plain) and isinstance(position, Rotary) and isinstance(norm, LayerNorm) and norm.bias):
        raise SpecError("GPT-NeoX has a plain FFN, rotary positions and LayerNorm; this spec has others")
    rotated = position.features / attention.head_dim
    return {
        "architectures": ["GPTNeoXForCausalLM"],
        "hidden_act": _HIDDEN_ACT[ffn.activation],
        "intermediate_size": ffn.d_ff,
        "layer_norm_eps": norm.eps,
        "model_type": "gpt_neox",
        "rope_parameters": {
            "partial_rotary_factor": rotated,
            "rope_theta": position.base,
            "rope_type": "default",
        },
        "rotary_emb_base": position.base,
        "rotary_pct": rotated,
        "use_parallel_residual": not isinstance(layer.residual, Sequential),
    }


def _granite_config(spec: DecoderSpec) -> dict[str, Any]:
    """Granite's multipliers are 1, and scores are divided by the square root of the head's features."""
    layer, attention = spec.layers[0], spec.layers[0].attention
    ffn, position, norm = layer.ffn, attention.position, layer.norm
    assert isinstance(ffn, MoE)
    if not (
        isinstance(ffn.expert, Gated)
        and isinstance(ffn.router, TopFirst)
        and isinstance(position, Rotary)
        and isinstance(norm, RMSNorm)
        and isinstance(layer.residual, Sequential)
    ):
        raise SpecError("GraniteMoe has gated experts, a softmax over the chosen ones, rotary positions and RMSNorm")
    return {
        "architectures": ["GraniteMoeForCausalLM"],
        "attention_multiplier": 1 / sqrt(attention.head_dim),
        "embedding_multiplier": 1.0,
        "hidden_act": _HIDDEN_ACT[ffn.expert.activation],
        "intermediate_size": ffn.expert.d_ff,
        "logits_scaling": 1.0,
        "model_type": "granitemoe",
        "num_experts_per_tok": ffn.top_k,
        "num_key_value_heads": attention.n_kv_heads,
        "num_local_experts": ffn.n_experts,
        "residual_multiplier": 1.0,
        "rms_norm_eps": norm.eps,
        "rope_parameters": {"rope_theta": position.base, "rope_type": "default"},
        "rope_theta": position.base,
    }


def _neox_weights(spec: DecoderSpec, ours: Weights) -> dict[str, NDArray[np.float32]]:
    """Query, key and value are interleaved by head in one tensor."""
    found: dict[str, NDArray[np.float32]] = {}
    places = gpt_neox.weights_of(spec)
    for name, weight in ours.items():
        place = places[name]
        if isinstance(place.view, ThirdOfHeads):
            rest = weight.shape[1:]
            fused = found.setdefault(place.tensor, np.zeros((3 * weight.shape[0], *rest), np.float32))
            by_head = weight.reshape(spec.n_heads, -1, *rest)
            fused.reshape(spec.n_heads, 3, -1, *rest)[:, place.view.part] = by_head
        else:
            found[place.tensor] = weight
    return found


def _granite_weights(spec: DecoderSpec, ours: Weights) -> dict[str, NDArray[np.float32]]:
    """The gate rows of an expert are before its up rows."""
    places = granitemoe.weights_of(spec)
    return {
        places[name].tensor: np.concatenate([weight[:, 0::2], weight[:, 1::2]], axis=1)
        if isinstance(places[name].view, Interleaved)
        else weight
        for name, weight in ours.items()
    }
