"""Phi-1 to Phi-2: one LayerNorm before both sublayers, which are parallel; partial rotary positions, biases."""

from dataclasses import replace

from models.families.config import Config
from models.families.family import Family
from models.families.llama import COMMON, PARTS, attention_of, decoder_of, head_dim_of, layers_of, share_of_stream
from models.families.rope import rotary_of
from models.families.views import Stored, stored_parts
from models.spec import DecoderSpec, HeadNorm, LayerNorm, LayerSpec, NoHeadNorm, Parallel, Plain


def decoder(config: Config) -> DecoderSpec:
    norm, normed = LayerNorm(config.number("layer_norm_eps")), config.flag("qk_layernorm")
    head_dim = share_of_stream(config) if normed else head_dim_of(config)
    layer = LayerSpec(
        mixer=replace(
            attention_of(config, rotary_of(config, head_dim, partial=True), bias=True),
            head_norm=HeadNorm(norm) if normed else NoHeadNorm(),
        ),
        ffn=Plain(config.activation("hidden_act"), config.count("intermediate_size"), bias=True),
        norm=norm,
        residual=Parallel(),
    )
    return replace(decoder_of(config, [layer] * layers_of(config)), head_bias=True)


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    parts = PARTS | {
        "attn.query_norm": "self_attn.q_layernorm",
        "attn.key_norm": "self_attn.k_layernorm",
        "attn.out": "self_attn.dense",
        "ffn.norm": "input_layernorm",
        "ffn.up": "mlp.fc1",
        "ffn.down": "mlp.fc2",
    }
    return stored_parts(spec, parts, norm="final_layernorm")


DEFAULTS = {
    **COMMON,
    "vocab_size": 51200,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 24,
    "hidden_act": "gelu_new",
    "layer_norm_eps": 1e-5,
    "partial_rotary_factor": 0.5,
    "qk_layernorm": False,
}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS)
