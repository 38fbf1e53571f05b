"""Mixtral: Mistral with a mixture of experts in every layer."""

from dataclasses import replace

from models.families.attention_windows import window_of
from models.families.config import Config
from models.families.experts import LOCAL, ExpertNames, mixture_of, or_stored, stored_experts
from models.families.family import Family
from models.families.llama import COMMON, PARTS, decoder_of, layer_of, layers_of, with_attention
from models.families.views import Stored, stored_parts
from models.spec import DecoderSpec, SoftmaxFirst

_NAMES = ExpertNames("block_sparse_moe", gate="w1", up="w3", down="w2")


def decoder(config: Config) -> DecoderSpec:
    mixture = mixture_of(config, SoftmaxFirst(renormalized=True), count="num_local_experts", width="intermediate_size")
    layer = replace(with_attention(layer_of(config), window=window_of(config)), ffn=mixture)
    return decoder_of(config, [layer] * layers_of(config))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    found = stored_parts(spec, PARTS | {"ffn.router": "block_sparse_moe.gate"})
    return found | or_stored(found, "ffn.router", "mlp.gate") | stored_experts(spec, _NAMES)


DEFAULTS = {
    **COMMON,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1_000_000.0,
    "sliding_window": None,
    "num_experts_per_tok": 2,
    "num_local_experts": 8,
}

FAMILY = Family(
    decoder=decoder,
    weights_of=weights_of,
    defaults=DEFAULTS,
    aliases={"num_experts": "num_local_experts"},
    harmless=frozenset({"router_jitter_noise"}),
    keys=LOCAL,
)
