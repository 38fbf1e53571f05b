"""OLMo 2: Llama with norms after sublayers instead of before, and joint norms of the queries and keys of all heads."""

from dataclasses import replace

from models.families.config import Config
from models.families.family import Family
from models.families.llama import COMMON, PARTS, decoder_of, layer_of, layers_of, norm_of, with_attention
from models.families.views import Stored, stored_parts
from models.spec import After, DecoderSpec, JointNorm


def decoder(config: Config) -> DecoderSpec:
    plain = layer_of(config, bias=config.flag("attention_bias"))
    layer = replace(with_attention(plain, head_norm=JointNorm(norm_of(config))), placement=After())
    return decoder_of(config, [layer] * layers_of(config))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    parts = PARTS | {
        "attn.query_norm": "self_attn.q_norm",
        "attn.key_norm": "self_attn.k_norm",
        "attn.after": "post_attention_layernorm",
        "ffn.after": "post_feedforward_layernorm",
    }
    return stored_parts(spec, parts)


DEFAULTS = {**COMMON, "vocab_size": 50304, "rms_norm_eps": 1e-5, "attention_bias": False}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS)
