"""Llama: RMSNorm, rotary positions, grouped queries, gated FFN."""

from models.families.config import Config
from models.families.rope import rotary_of
from models.families.views import Stored
from models.spec import DecoderSpec, Full, Gated, LayerSpec, NoPosition, RMSNorm, Sequential

KEYS = {
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "d_ff": "intermediate_size",
}


def spec_of(config: Config) -> DecoderSpec:
    d_model, n_heads = config.count("hidden_size"), config.count("num_attention_heads")
    head_dim = config.count("head_dim", d_model // n_heads)
    norm, bias = RMSNorm(config.number("rms_norm_eps", 1e-6)), config.flag("attention_bias", False)
    layer = LayerSpec(
        reach=Full(),
        position=rotary_of(config, head_dim),
        ffn=Gated(
            config.activation("hidden_act", "silu"), config.count("intermediate_size"), config.flag("mlp_bias", False)
        ),
        norm=norm,
        residual=Sequential(),
        qkv_bias=bias,
        out_bias=bias,
    )
    return DecoderSpec(
        vocab_size=config.count("vocab_size"),
        d_model=d_model,
        n_heads=n_heads,
        n_kv_heads=config.count("num_key_value_heads", n_heads),
        head_dim=head_dim,
        context=config.count("max_position_embeddings", 2048),
        positions=NoPosition(),
        layers=(layer,) * config.count("num_hidden_layers"),
        norm=norm,
        tied=config.flag("tie_word_embeddings", False),
    )


_PARTS = {
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


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    found = {
        "embed.weight": Stored("model.embed_tokens.weight"),
        "head.norm.weight": Stored("model.norm.weight"),
        "head.weight": Stored("lm_head.weight"),
    }
    for layer in range(spec.n_layers):
        for ours, theirs in _PARTS.items():
            for kind in ("weight", "bias"):
                found[f"layers.{layer}.{ours}.{kind}"] = Stored(f"model.layers.{layer}.{theirs}.{kind}")
    return found
