"""Llama: RMSNorm, rotary positions, grouped queries, gated FFN; what Mistral, Qwen and SmolLM vary."""

from collections.abc import Sequence

from models.families.config import Config
from models.families.family import Family
from models.families.rope import context_of, rotary_of
from models.families.views import Stored, stored_parts
from models.spec import DecoderSpec, Full, Gated, LayerSpec, NoPosition, RMSNorm, Sequential

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
    """Features of one head: stated, or an even share of the residual stream."""
    return config.count("head_dim", config.count("hidden_size") // config.count("num_attention_heads"))


def norm_of(config: Config) -> RMSNorm:
    """The norm before every sublayer and before the head."""
    return RMSNorm(config.number("rms_norm_eps", 1e-6))


def layer_of(config: Config) -> LayerSpec:
    """One layer of Llama."""
    bias = config.flag("attention_bias", False)
    return LayerSpec(
        reach=Full(),
        position=rotary_of(config, head_dim_of(config)),
        ffn=Gated(
            config.activation("hidden_act", "silu"), config.count("intermediate_size"), config.flag("mlp_bias", False)
        ),
        norm=norm_of(config),
        residual=Sequential(),
        qkv_bias=bias,
        out_bias=bias,
    )


def decoder_of(config: Config, layers: Sequence[LayerSpec], *, tied: bool = False) -> DecoderSpec:
    """The decoder around some layers; `tied` is what a config means that does not say."""
    n_heads = config.count("num_attention_heads")
    return DecoderSpec(
        vocab_size=config.count("vocab_size"),
        d_model=config.count("hidden_size"),
        n_heads=n_heads,
        n_kv_heads=config.count("num_key_value_heads", n_heads),
        head_dim=head_dim_of(config),
        context=context_of(config),
        positions=NoPosition(),
        layers=tuple(layers),
        norm=layers[0].norm,
        tied=config.flag("tie_word_embeddings", tied),
    )


def spec_of(config: Config) -> DecoderSpec:
    return decoder_of(config, [layer_of(config)] * config.count("num_hidden_layers"))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    return stored_parts(spec, PARTS)


FAMILY = Family(spec_of, weights_of)
