"""OPT: LayerNorm, learned positions, full heads, plain FFN with ReLU; position 0 is row 2 of what is stored.

The 350m alone norms the residual stream after each sublayer, has no norm before the head, and narrower token vectors.
"""

from dataclasses import replace

from models.families.config import Config
from models.families.family import Family
from models.families.llama import decoder_of
from models.families.views import Rows, Stored, stored_parts
from models.spec import (
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
    "d_model": "hidden_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_attention_heads",
    "head_dim": "hidden_size",
    "d_ff": "ffn_dim",
}

_UNUSED_ROWS = 2
"""Rows of the stored positions that no text reaches: they were kept for padding."""


def spec_of(config: Config) -> DecoderSpec:
    config.require("layer_norm_elementwise_affine", "norms without weights")
    config.refuse("_remove_final_layer_norm", "a head without a norm")
    before, d_model = config.flag("do_layer_norm_before", True), config.count("hidden_size")
    width = config.count("word_embed_proj_dim", d_model)
    bias = config.flag("enable_bias", True)
    layer = LayerSpec(
        reach=Full(),
        position=NoPosition(),
        ffn=Plain(config.activation("activation_function", "relu"), config.count("ffn_dim"), bias),
        norm=LayerNorm(1e-5),
        residual=Sequential(),
        qkv_bias=bias,
        out_bias=bias,
        placement=Before() if before else OfSum(),
    )
    decoder = decoder_of(config, [layer] * config.count("num_hidden_layers"), tied=True)
    return replace(
        decoder,
        positions=Learned(config.count("max_position_embeddings")),
        norm=layer.norm if before else NoNorm(),
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


FAMILY = Family(spec_of, weights_of, KEYS)
