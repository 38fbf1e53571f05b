"""Qwen3 with mixtures of experts (30B-A3B, 235B-A22B)."""

from models.families.attention_windows import window_of
from models.families.config import Config
from models.families.experts import KEYS, ROUTER, ExpertNames, mixture_of, stored_experts, with_mixtures
from models.families.family import Family
from models.families.llama import PARTS, decoder_of, layer_of, layers_of, norm_of, with_attention
from models.families.qwen3 import DEFAULTS as QWEN3
from models.families.views import Stored, stored_parts
from models.spec import DecoderSpec, Full, HeadNorm, SoftmaxFirst


def decoder(config: Config) -> DecoderSpec:
    window = window_of(config) if config.flag("use_sliding_window") else Full()
    layer = with_attention(
        layer_of(config, bias=config.flag("attention_bias")), head_norm=HeadNorm(norm_of(config)), window=window
    )
    router = SoftmaxFirst(renormalized=config.flag("norm_topk_prob"))
    return decoder_of(config, with_mixtures(config, [layer] * layers_of(config), mixture_of(config, router)))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    parts = {**PARTS, **ROUTER, "attn.query_norm": "self_attn.q_norm", "attn.key_norm": "self_attn.k_norm"}
    return stored_parts(spec, parts) | stored_experts(spec, ExpertNames())


_NOT_HERE = {"max_window_layers", "layer_types"}

DEFAULTS = {
    **{key: value for key, value in QWEN3.items() if key not in _NOT_HERE},
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 24,
    "num_key_value_heads": 4,
    "head_dim": None,
    "sliding_window": 4096,
    "decoder_sparse_step": 1,
    "moe_intermediate_size": 768,
    "num_experts_per_tok": 8,
    "num_experts": 128,
    "norm_topk_prob": False,
    "mlp_only_layers": None,
}

FAMILY = Family(
    decoder=decoder,
    weights_of=weights_of,
    defaults=DEFAULTS,
    nullable=frozenset({"sliding_window"}),
    aliases={"num_local_experts": "num_experts"},
    harmless=frozenset({"max_window_layers"}),
    keys=KEYS,
)
