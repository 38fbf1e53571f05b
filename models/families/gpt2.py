"""GPT-2: LayerNorm, learned positions, full heads, plain FFN, weights stored as (input, output)."""

from models.families.config import Config
from models.families.family import Family
from models.families.views import AsIs, Stored, Third, Transposed, View
from models.spec import DecoderSpec, Full, LayerNorm, LayerSpec, Learned, NoPosition, Plain, Sequential

KEYS = {
    "vocab_size": "vocab_size",
    "d_model": "n_embd",
    "n_heads": "n_head",
    "n_kv_heads": "n_head",
    "head_dim": "n_embd",
    "d_ff": "n_inner",
}


def spec_of(config: Config) -> DecoderSpec:
    config.refuse("add_cross_attention", "cross-attention")
    config.refuse("scale_attn_by_inverse_layer_idx", "scores scaled by the layer's index")
    config.require("scale_attn_weights", "scores without a scale")
    d_model, n_heads = config.count("n_embd"), config.count("n_head")
    context, norm = config.count("n_positions"), LayerNorm(config.number("layer_norm_epsilon", 1e-5))
    layer = LayerSpec(
        reach=Full(),
        position=NoPosition(),
        ffn=Plain(
            config.activation("activation_function", "gelu_new"), config.count("n_inner", 4 * d_model), bias=True
        ),
        norm=norm,
        residual=Sequential(),
        qkv_bias=True,
        out_bias=True,
    )
    return DecoderSpec(
        vocab_size=config.count("vocab_size"),
        d_model=d_model,
        n_heads=n_heads,
        n_kv_heads=n_heads,
        head_dim=d_model // n_heads,
        context=context,
        positions=Learned(context),
        layers=(layer,) * config.count("n_layer"),
        norm=norm,
        tied=config.flag("tie_word_embeddings", True),
    )


_PARTS: dict[str, tuple[str, View, View]] = {
    "attn.norm": ("ln_1", AsIs(), AsIs()),
    "attn.query": ("attn.c_attn", Third(0, transposed=True), Third(0)),
    "attn.key": ("attn.c_attn", Third(1, transposed=True), Third(1)),
    "attn.value": ("attn.c_attn", Third(2, transposed=True), Third(2)),
    "attn.out": ("attn.c_proj", Transposed(), AsIs()),
    "ffn.norm": ("ln_2", AsIs(), AsIs()),
    "ffn.up": ("mlp.c_fc", Transposed(), AsIs()),
    "ffn.down": ("mlp.c_proj", Transposed(), AsIs()),
}


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    found = {
        "embed.weight": Stored("transformer.wte.weight"),
        "embed.positions": Stored("transformer.wpe.weight"),
        "head.norm.weight": Stored("transformer.ln_f.weight"),
        "head.norm.bias": Stored("transformer.ln_f.bias"),
        "head.weight": Stored("lm_head.weight"),
    }
    for layer in range(spec.n_layers):
        for ours, (theirs, weight, bias) in _PARTS.items():
            found[f"layers.{layer}.{ours}.weight"] = Stored(f"transformer.h.{layer}.{theirs}.weight", weight)
            found[f"layers.{layer}.{ours}.bias"] = Stored(f"transformer.h.{layer}.{theirs}.bias", bias)
    return found


FAMILY = Family(spec_of, weights_of, KEYS, "transformer.")
