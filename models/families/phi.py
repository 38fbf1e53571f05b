"""Phi-1 to Phi-2: one LayerNorm before both sublayers, which work in parallel; partly rotary, biases throughout."""

from dataclasses import replace

from models.families.config import Config
from models.families.family import Family
from models.families.llama import PARTS, decoder_of, head_dim_of
from models.families.rope import rotary_of
from models.families.views import Stored, stored_parts
from models.spec import DecoderSpec, Full, HeadNorm, LayerNorm, LayerSpec, NoHeadNorm, Parallel, Plain


def spec_of(config: Config) -> DecoderSpec:
    norm = LayerNorm(config.number("layer_norm_eps", 1e-5))
    layer = LayerSpec(
        reach=Full(),
        position=rotary_of(config, head_dim_of(config), share_key="partial_rotary_factor", share=0.5),
        ffn=Plain(config.activation("hidden_act", "gelu_new"), config.count("intermediate_size"), bias=True),
        norm=norm,
        residual=Parallel(),
        qkv_bias=True,
        out_bias=True,
        head_norm=HeadNorm(norm) if config.flag("qk_layernorm", False) else NoHeadNorm(),
    )
    decoder = decoder_of(config, [layer] * config.count("num_hidden_layers"))
    return replace(decoder, head_bias=True)


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


FAMILY = Family(spec_of, weights_of)
