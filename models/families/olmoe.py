"""OLMoE: mixtures of experts, and norms of all queries and all keys; projections may be clipped."""

from dataclasses import replace

from models.families.config import Config
from models.families.experts import KEYS, ROUTER, ExpertNames, mixture_of, stored_experts
from models.families.family import Family
from models.families.llama import (
    COMMON,
    PARTS,
    decoder_of,
    layer_of,
    layers_of,
    norm_of,
    share_of_stream,
    with_attention,
)
from models.families.switches import Switch
from models.families.views import Stored, stored_parts
from models.spec import Clip, DecoderSpec, JointNorm, NoClip, SoftmaxFirst


def decoder(config: Config) -> DecoderSpec:
    share_of_stream(config)
    limit = config.number_or_none("clip_qkv")
    layer = with_attention(
        layer_of(config, bias=config.flag("attention_bias")),
        head_norm=JointNorm(norm_of(config)),
        clip=NoClip() if limit is None else Clip(limit),
    )
    router = SoftmaxFirst(renormalized=config.flag("norm_topk_prob"))
    mixture = mixture_of(config, router, width="intermediate_size")
    return decoder_of(config, [replace(layer, ffn=mixture)] * layers_of(config))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    parts = {**PARTS, **ROUTER, "attn.query_norm": "self_attn.q_norm", "attn.key_norm": "self_attn.k_norm"}
    return stored_parts(spec, parts) | stored_experts(spec, ExpertNames())


DEFAULTS = {
    **COMMON,
    "vocab_size": 50304,
    "hidden_size": 2048,
    "intermediate_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 16,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "attention_bias": False,
    "clip_qkv": None,
    "num_experts_per_tok": 8,
    "num_experts": 64,
    "norm_topk_prob": False,
}

FAMILY = Family(
    decoder=decoder,
    weights_of=weights_of,
    defaults=DEFAULTS,
    aliases={"num_local_experts": "num_experts"},
    switches={"sliding_window": Switch("an attention window, which only some kernels of transformers apply")},
    keys=KEYS | {"d_expert": "intermediate_size"},
)
