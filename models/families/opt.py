"""OPT: LayerNorm, learned positions, multi-head attention, ReLU FFN without a gate; position 0 is row 2 of the tensor.

Only opt-350m normalizes the residual stream after each sublayer, has no norm before the head, and has an embedding that
is narrower than d_model.
"""

from models.families.config import Config
from models.families.family import Family
from models.families.llama import layers_of
from models.families.switches import Switch
from models.families.views import Rows, Stored, stored_parts
from models.spec import (
    Attention,
    Before,
    DecoderSpec,
    Direct,
    Full,
    LayerNorm,
    LayerSpec,
    Learned,
    NoNorm,
    NoPosition,
    OfSum,
    Plain,
    Projected,
    Sequential,
)

KEYS = {
    "vocab_size": "vocab_size",
    "n_layers": "num_hidden_layers",
    "d_model": "hidden_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_attention_heads",
    "head_dim": "hidden_size",
    "d_ff": "ffn_dim",
}

_UNUSED_ROWS = 2
"""First rows of the stored positions, which no token uses; they were reserved for padding."""


def decoder(config: Config) -> DecoderSpec:
    d_model, n_heads, before = (
        config.count("hidden_size"),
        config.count("num_attention_heads"),
        config.flag("do_layer_norm_before"),
    )
    width, context = config.count_or_none("word_embed_proj_dim") or d_model, config.count("max_position_embeddings")
    bias, norm = config.flag("enable_bias"), LayerNorm(1e-5)
    layer = LayerSpec(
        mixer=Attention(
            n_heads=n_heads,
            n_kv_heads=n_heads,
            head_dim=d_model // n_heads,
            window=Full(),
            position=NoPosition(),
            qkv_bias=bias,
            out_bias=bias,
        ),
        ffn=Plain(config.activation("activation_function"), config.count("ffn_dim"), bias),
        norm=norm,
        residual=Sequential(),
        placement=Before() if before else OfSum(),
    )
    return DecoderSpec(
        vocab_size=config.count("vocab_size"),
        d_model=d_model,
        context=context,
        positions=Learned(context),
        layers=(layer,) * layers_of(config),
        norm=norm if before else NoNorm(),
        tied=config.flag("tie_word_embeddings"),
        embedded=Direct() if width == d_model else Projected(width),
    )


_PARTS = {
    "attn.norm": "self_attn_layer_norm",
    "attn_sum": "self_attn_layer_norm",
    "attn.query": "self_attn.q_proj",
    "attn.key": "self_attn.k_proj",
    "attn.value": "self_attn.v_proj",
    "attn.out": "self_attn.out_proj",
    "ffn.norm": "final_layer_norm",
    "ffn_sum": "final_layer_norm",
    "ffn.up": "fc1",
    "ffn.down": "fc2",
}


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    end = spec.context + _UNUSED_ROWS
    positions = Stored("model.decoder.embed_positions.weight", Rows(_UNUSED_ROWS, end, end))
    parts = stored_parts(spec, _PARTS, norm="final_layer_norm", root="model.decoder.")
    projections = {
        "embed.project.weight": Stored("model.decoder.project_in.weight"),
        "head.project.weight": Stored("model.decoder.project_out.weight"),
    }
    return parts | projections | {"embed.positions": positions}


DEFAULTS = {
    "vocab_size": 50272,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "ffn_dim": 3072,
    "num_attention_heads": 12,
    "max_position_embeddings": 2048,
    "do_layer_norm_before": True,
    "word_embed_proj_dim": None,
    "activation_function": "relu",
    "enable_bias": True,
    "tie_word_embeddings": True,
}

SWITCHES = {
    "layer_norm_elementwise_affine": Switch("norms without weights", runs=True),
    "_remove_final_layer_norm": Switch("a head without a norm"),
}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS, switches=SWITCHES, keys=KEYS)
