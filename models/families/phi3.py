"""Phi-3 and Phi-4: Llama with fused tensors for query, key and value, and for gate and up; some have a window."""

from models.errors import SpecError
from models.families.attention_windows import window_of
from models.families.config import Config
from models.families.family import Family
from models.families.llama import COMMON, PARTS, decoder_of, head_dim_of, layer_of, layers_of, with_attention
from models.families.rope import kind_of, rope_key, rotary_of
from models.families.views import Part, Rows, Stored, stored_parts
from models.spec import DecoderSpec


def decoder(config: Config) -> DecoderSpec:
    position = rotary_of(_renamed(config), head_dim_of(config), partial=True)
    layer = with_attention(layer_of(config, position), window=window_of(config))
    return decoder_of(config, [layer] * layers_of(config))


def _renamed(config: Config) -> Config:
    """The config with LongRoPE named `longrope`; early files name it `yarn`. Other scalings are refused."""
    key = rope_key(config)
    table = config.table(key)
    kind = kind_of(table)
    if kind not in ("default", "longrope", "yarn"):
        raise SpecError(f"{config.path} has rope scaling {kind!r}; this family has longrope only")
    return (
        Config(config.path, {**config.keys, key: {**table.keys, "rope_type": "longrope"}}) if kind == "yarn" else config
    )


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    attention, d_ff = spec.layers[0].attention, spec.layers[0].ffn.d_ff
    queries, keys = attention.query_width, attention.key_width
    heads = queries + 2 * keys
    fused: dict[str, Part] = {
        "attn.query": ("self_attn.qkv_proj", Rows(0, queries, heads)),
        "attn.key": ("self_attn.qkv_proj", Rows(queries, queries + keys, heads)),
        "attn.value": ("self_attn.qkv_proj", Rows(queries + keys, heads, heads)),
        "ffn.gate": ("mlp.gate_up_proj", Rows(0, d_ff, 2 * d_ff)),
        "ffn.up": ("mlp.gate_up_proj", Rows(d_ff, 2 * d_ff, 2 * d_ff)),
    }
    return stored_parts(spec, {**PARTS, **fused})


DEFAULTS = {
    **COMMON,
    "vocab_size": 32064,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "max_position_embeddings": 4096,
    "original_max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "partial_rotary_factor": 1.0,
    "sliding_window": None,
}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS)
