"""GLM-4: Llama with norms around sublayers, one tensor for gate and up, and rotation of neighboring features."""

from dataclasses import replace

from models.families import llama
from models.families.config import Config
from models.families.family import Family
from models.families.llama import PARTS, decoder_of, head_dim_of, layer_of, layers_of, with_attention
from models.families.rope import rotary_of
from models.families.views import Part, Rows, Stored, interleaved, stored_parts
from models.spec import Around, DecoderSpec


def decoder(config: Config) -> DecoderSpec:
    if config.stated("partial_rotary_factor") is None:  # null, which is not the default
        config = Config(config.path, {**config.keys, "partial_rotary_factor": 1.0})
    position = rotary_of(config, head_dim_of(config), partial=True)
    plain = with_attention(layer_of(config, position), qkv_bias=config.flag("attention_bias"))
    return decoder_of(config, [replace(plain, placement=Around())] * layers_of(config))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    d_ff = spec.layers[0].ffn.d_ff
    parts: dict[str, Part] = {
        "attn.after": "post_self_attn_layernorm",
        "ffn.after": "post_mlp_layernorm",
        "ffn.gate": ("mlp.gate_up_proj", Rows(0, d_ff, 2 * d_ff)),
        "ffn.up": ("mlp.gate_up_proj", Rows(d_ff, 2 * d_ff, 2 * d_ff)),
    }
    return stored_parts(spec, {**PARTS, **parts, **interleaved(spec)})


DEFAULTS = {
    **{key: value for key, value in llama.DEFAULTS.items() if key != "mlp_bias"},
    "vocab_size": 151_552,
    "intermediate_size": 13696,
    "num_hidden_layers": 40,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 0.00000015625,
    "partial_rotary_factor": 0.5,
    "attention_bias": True,
}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS)
