"""OLMo 2: Llama that norms what sublayers add instead of what they read, and queries and keys of all heads jointly."""

from dataclasses import replace

from models.families.config import Config
from models.families.family import Family
from models.families.llama import PARTS, decoder_of, layer_of
from models.families.views import Stored, stored_parts
from models.spec import After, DecoderSpec, JointNorm, RMSNorm


def spec_of(config: Config) -> DecoderSpec:
    norm = RMSNorm(config.number("rms_norm_eps", 1e-5))
    layer = replace(layer_of(config), norm=norm, head_norm=JointNorm(norm), placement=After())
    return decoder_of(config, [layer] * config.count("num_hidden_layers"))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    parts = PARTS | {
        "attn.query_norm": "self_attn.q_norm",
        "attn.key_norm": "self_attn.k_norm",
        "attn.after": "post_attention_layernorm",
        "ffn.after": "post_feedforward_layernorm",
    }
    return stored_parts(spec, parts)


FAMILY = Family(spec_of, weights_of)
