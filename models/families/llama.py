"""Llama: RMSNorm, rotary positions, grouped-query attention, gated FFN. Mistral, Qwen and SmolLM build on it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from models.families.config import MOST_LAYERS, Config
from models.families.family import Family
from models.families.rope import ROPE, context_of, rotary_of
from models.families.views import Stored, stored_parts
from models.spec import (
    Attention,
    DecoderSpec,
    Full,
    Gated,
    LayerSpec,
    NoPosition,
    RMSNorm,
    Rotary,
    Sequential,
)

COMMON: Mapping[str, Any] = {
    **ROPE,
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,
    "head_dim": None,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
"""Keys of Llama and the families that build on it, with their defaults."""

PARTS = {
    "attn.norm": "input_layernorm",
    "attn.query": "self_attn.q_proj",
    "attn.key": "self_attn.k_proj",
    "attn.value": "self_attn.v_proj",
    "attn.out": "self_attn.o_proj",
    "ffn.norm": "post_attention_layernorm",
    "ffn.gate": "mlp.gate_proj",
    "ffn.up": "mlp.up_proj",
    "ffn.down": "mlp.down_proj",
}


def head_dim_of(config: Config) -> int:
    """Features of one head: `head_dim`, or hidden_size / num_attention_heads."""
    return config.count_or_none("head_dim") or config.count("hidden_size") // config.count("num_attention_heads")


def share_of_stream(config: Config) -> int:
    """Features of one head in families without `head_dim`: hidden_size / num_attention_heads; others are refused."""
    even = config.count("hidden_size") // config.count("num_attention_heads")
    if (config.count_or_none("head_dim") or even) != even:
        raise config.refusal("head_dim", f"{even}, which is hidden_size / num_attention_heads, in this family")
    return even


def layers_of(config: Config) -> int:
    """Number of layers."""
    return config.count("num_hidden_layers", most=MOST_LAYERS)


def norm_of(config: Config) -> RMSNorm:
    """The norm before every sublayer and before the head."""
    return RMSNorm(config.number("rms_norm_eps"))


def layer_of(
    config: Config,
    position: Rotary | None = None,
    *,
    bias: bool = False,
    ffn_bias: bool = False,
    activation: str = "hidden_act",
) -> LayerSpec:
    """One layer of Llama. `bias` is for attention, `ffn_bias` for the FFN; `activation` is a key of the config."""
    return LayerSpec(
        mixer=attention_of(config, position or rotary_of(config, head_dim_of(config)), bias),
        ffn=Gated(config.activation(activation), config.count("intermediate_size"), ffn_bias),
        norm=norm_of(config),
        residual=Sequential(),
    )


def attention_of(config: Config, position: Rotary | NoPosition, bias: bool) -> Attention:
    """Attention with the heads of a config, to all earlier tokens."""
    n_heads = config.count("num_attention_heads")
    return Attention(
        n_heads=n_heads,
        n_kv_heads=config.count_or_none("num_key_value_heads") or n_heads,
        head_dim=head_dim_of(config),
        window=Full(),
        position=position,
        qkv_bias=bias,
        out_bias=bias,
    )


def with_attention(layer: LayerSpec, **changes: Any) -> LayerSpec:
    """The layer with some fields of its attention changed."""
    return replace(layer, mixer=replace(layer.attention, **changes))


def decoder_of(config: Config, layers: Sequence[LayerSpec]) -> DecoderSpec:
    """The decoder with these layers."""
    positions = [layer.attention.position for layer in layers]
    scalings = {position.scaling for position in positions if isinstance(position, Rotary)}
    return DecoderSpec(
        vocab_size=config.count("vocab_size"),
        d_model=config.count("hidden_size"),
        context=context_of(config, scalings),
        positions=NoPosition(),
        layers=tuple(layers),
        norm=layers[0].norm,
        tied=config.flag("tie_word_embeddings"),
    )


def decoder(config: Config) -> DecoderSpec:
    layer = layer_of(config, bias=config.flag("attention_bias"), ffn_bias=config.flag("mlp_bias"))
    return decoder_of(config, [layer] * layers_of(config))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    return stored_parts(spec, PARTS)


DEFAULTS: Mapping[str, Any] = {**COMMON, "rms_norm_eps": 1e-6, "attention_bias": False, "mlp_bias": False}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS)
