"""GPT-NeoX (Pythia, the bundled models): LayerNorm, partial or full rotary positions, FFN without a gate.

Sublayers are sequential or parallel.
"""

from models.families.config import Config
from models.families.family import Family
from models.families.llama import head_dim_of, layers_of
from models.families.rope import context_of, rotary_of
from models.families.views import AsIs, Stored, ThirdOfHeads, View
from models.spec import Attention, DecoderSpec, Full, LayerNorm, LayerSpec, NoPosition, Parallel, Plain, Sequential

KEYS = {
    "vocab_size": "vocab_size",
    "n_layers": "num_hidden_layers",
    "d_model": "hidden_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_attention_heads",
    "head_dim": "hidden_size",
    "d_ff": "intermediate_size",
}


def decoder(config: Config) -> DecoderSpec:
    d_model, n_heads = config.count("hidden_size"), config.count("num_attention_heads")
    norm, bias = LayerNorm(config.number("layer_norm_eps")), config.flag("attention_bias")
    position = rotary_of(config, head_dim_of(config), base_key="rotary_emb_base", share_key="rotary_pct", partial=True)
    layer = LayerSpec(
        mixer=Attention(
            n_heads=n_heads,
            n_kv_heads=n_heads,
            head_dim=d_model // n_heads,  # head_dim in a config affects only the share of rotary features
            window=Full(),
            position=position,
            qkv_bias=bias,
            out_bias=bias,
        ),
        ffn=Plain(config.activation("hidden_act"), config.count("intermediate_size"), bias=True),
        norm=norm,
        residual=Parallel() if config.flag("use_parallel_residual") else Sequential(),
    )
    return DecoderSpec(
        vocab_size=config.count("vocab_size"),
        d_model=d_model,
        context=context_of(config, [position.scaling]),
        positions=NoPosition(),
        layers=(layer,) * layers_of(config),
        norm=norm,
        tied=config.flag("tie_word_embeddings"),
    )


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    found = {
        "embed.weight": Stored("gpt_neox.embed_in.weight"),
        "head.norm.weight": Stored("gpt_neox.final_layer_norm.weight"),
        "head.norm.bias": Stored("gpt_neox.final_layer_norm.bias"),
        "head.weight": Stored("embed_out.weight"),
    }
    n_heads = spec.layers[0].attention.n_heads
    parts: dict[str, tuple[str, View]] = {
        "attn.norm": ("input_layernorm", AsIs()),
        "attn.query": ("attention.query_key_value", ThirdOfHeads(0, n_heads)),
        "attn.key": ("attention.query_key_value", ThirdOfHeads(1, n_heads)),
        "attn.value": ("attention.query_key_value", ThirdOfHeads(2, n_heads)),
        "attn.out": ("attention.dense", AsIs()),
        "ffn.norm": ("post_attention_layernorm", AsIs()),
        "ffn.up": ("mlp.dense_h_to_4h", AsIs()),
        "ffn.down": ("mlp.dense_4h_to_h", AsIs()),
    }
    for layer in range(spec.n_layers):
        for ours, (theirs, view) in parts.items():
            for kind in ("weight", "bias"):
                found[f"layers.{layer}.{ours}.{kind}"] = Stored(f"gpt_neox.layers.{layer}.{theirs}.{kind}", view)
    return found


DEFAULTS = {
    "vocab_size": 50432,
    "hidden_size": 6144,
    "intermediate_size": 24576,
    "num_hidden_layers": 44,
    "num_attention_heads": 64,
    "head_dim": None,
    "hidden_act": "gelu",
    "max_position_embeddings": 2048,
    "original_max_position_embeddings": None,
    "layer_norm_eps": 1e-5,
    "use_parallel_residual": True,
    "attention_bias": True,
    "rope_parameters": None,
    "rope_scaling": None,
    "rotary_emb_base": 10_000.0,
    "rotary_pct": 0.25,
    "tie_word_embeddings": False,
}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS, keys=KEYS, prefix="gpt_neox.")
