"""Phi-3 and Phi-4: Llama whose query, key and value lie in one tensor, as do gate and up; some with a window."""

from dataclasses import replace

from models.families.config import Config
from models.families.family import Family
from models.families.llama import PARTS, decoder_of, head_dim_of, layer_of
from models.families.reach import window_of
from models.families.rope import rotary_of
from models.families.views import Part, Rows, Stored, stored_parts
from models.spec import DecoderSpec


def spec_of(config: Config) -> DecoderSpec:
    position = rotary_of(config, head_dim_of(config), share_key="partial_rotary_factor")
    layer = replace(layer_of(config), reach=window_of(config), position=position)
    return decoder_of(config, [layer] * config.count("num_hidden_layers"))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    queries, keys = spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim
    d_ff, heads = spec.layers[0].ffn.d_ff, queries + 2 * keys
    fused: dict[str, Part] = {
        "attn.query": ("self_attn.qkv_proj", Rows(0, queries, heads)),
        "attn.key": ("self_attn.qkv_proj", Rows(queries, queries + keys, heads)),
        "attn.value": ("self_attn.qkv_proj", Rows(queries + keys, heads, heads)),
        "ffn.gate": ("mlp.gate_up_proj", Rows(0, d_ff, 2 * d_ff)),
        "ffn.up": ("mlp.gate_up_proj", Rows(d_ff, 2 * d_ff, 2 * d_ff)),
    }
    return stored_parts(spec, {**PARTS, **fused})


FAMILY = Family(spec_of, weights_of)
