"""GPT-2: LayerNorm, learned positions, multi-head attention, FFN without a gate, weights stored as (input, output)."""

from models.families.config import MOST_LAYERS, Config
from models.families.family import Family
from models.families.switches import Switch
from models.families.views import AsIs, Stored, Third, Transposed, View
from models.spec import Attention, DecoderSpec, Full, LayerNorm, LayerSpec, Learned, NoPosition, Plain, Sequential

KEYS = {
    "vocab_size": "vocab_size",
    "n_layers": "n_layer",
    "d_model": "n_embd",
    "n_heads": "n_head",
    "n_kv_heads": "n_head",
    "head_dim": "n_embd",
    "d_ff": "n_inner",
}


def decoder(config: Config) -> DecoderSpec:
    d_model, n_heads = config.count("n_embd"), config.count("n_head")
    context, norm = config.count("n_positions"), LayerNorm(config.number("layer_norm_epsilon"))
    d_ff = config.count_or_none("n_inner") or 4 * d_model
    layer = LayerSpec(
        mixer=Attention(
            n_heads=n_heads,
            n_kv_heads=n_heads,
            head_dim=d_model // n_heads,
            window=Full(),
            position=NoPosition(),
            qkv_bias=True,
            out_bias=True,
        ),
        ffn=Plain(config.activation("activation_function"), d_ff, bias=True),
        norm=norm,
        residual=Sequential(),
    )
    return DecoderSpec(
        vocab_size=config.count("vocab_size"),
        d_model=d_model,
        context=context,
        positions=Learned(context),
        layers=(layer,) * config.count("n_layer", most=MOST_LAYERS),
        norm=norm,
        tied=config.flag("tie_word_embeddings"),
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


DEFAULTS = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": None,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "tie_word_embeddings": True,
}

ALIASES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}

SWITCHES = {
    "scale_attn_by_inverse_layer_idx": Switch("scores scaled by the layer's index"),
    "scale_attn_weights": Switch("scores without a scale", runs=True),
}

FAMILY = Family(
    decoder=decoder,
    weights_of=weights_of,
    defaults=DEFAULTS,
    aliases=ALIASES,
    switches=SWITCHES,
    keys=KEYS,
    prefix="transformer.",
)
