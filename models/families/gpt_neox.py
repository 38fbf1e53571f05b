"""GPT-NeoX (Pythia, and the zoo): LayerNorm, partial or full rotary, plain FFN, either residual order."""

from models.families.config import Config
from models.families.family import Family
from models.families.rope import rotary_of
from models.families.views import AsIs, Stored, ThirdOfHeads, View
from models.spec import DecoderSpec, Full, LayerNorm, LayerSpec, NoPosition, Parallel, Plain, Sequential

KEYS = {
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_attention_heads",
    "head_dim": "hidden_size",
    "d_ff": "intermediate_size",
}


def spec_of(config: Config) -> DecoderSpec:
    d_model, n_heads = config.count("hidden_size"), config.count("num_attention_heads")
    norm, bias = LayerNorm(config.number("layer_norm_eps", 1e-5)), config.flag("attention_bias", True)
    layer = LayerSpec(
        reach=Full(),
        position=rotary_of(config, d_model // n_heads, base_key="rotary_emb_base", share_key="rotary_pct", share=0.25),
        ffn=Plain(config.activation("hidden_act", "gelu"), config.count("intermediate_size"), bias=True),
        norm=norm,
        residual=Parallel() if config.flag("use_parallel_residual", True) else Sequential(),
        qkv_bias=bias,
        out_bias=bias,
    )
    return DecoderSpec(
        vocab_size=config.count("vocab_size"),
        d_model=d_model,
        n_heads=n_heads,
        n_kv_heads=n_heads,
        head_dim=d_model // n_heads,
        context=config.count("max_position_embeddings", 2048),
        positions=NoPosition(),
        layers=(layer,) * config.count("num_hidden_layers"),
        norm=norm,
        tied=config.flag("tie_word_embeddings", False),
    )


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    found = {
        "embed.weight": Stored("gpt_neox.embed_in.weight"),
        "head.norm.weight": Stored("gpt_neox.final_layer_norm.weight"),
        "head.norm.bias": Stored("gpt_neox.final_layer_norm.bias"),
        "head.weight": Stored("embed_out.weight"),
    }
    parts: dict[str, tuple[str, View]] = {
        "attn.norm": ("input_layernorm", AsIs()),
        "attn.query": ("attention.query_key_value", ThirdOfHeads(0, spec.n_heads)),
        "attn.key": ("attention.query_key_value", ThirdOfHeads(1, spec.n_heads)),
        "attn.value": ("attention.query_key_value", ThirdOfHeads(2, spec.n_heads)),
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


FAMILY = Family(spec_of, weights_of, KEYS, "gpt_neox.")
