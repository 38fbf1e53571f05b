"""Qwen2 with mixtures of experts (Qwen1.5-MoE, 57B-A14B): routed experts and a gated shared expert."""

from models.families.attention_windows import FULL, SLIDING, window_of, windows_of
from models.families.config import Config
from models.families.experts import KEYS, ROUTER, ExpertNames, mixture_of, stored_experts, with_mixtures
from models.families.family import Family
from models.families.llama import PARTS, decoder_of, layer_of, layers_of, with_attention
from models.families.qwen2 import DEFAULTS as QWEN2
from models.families.views import Stored, stored_parts
from models.spec import AttentionWindow, DecoderSpec, Full, Gated, Shared, SoftmaxFirst


def decoder(config: Config) -> DecoderSpec:
    layer = with_attention(layer_of(config), qkv_bias=config.flag("qkv_bias"), out_bias=False)
    layers = [with_attention(layer, window=window) for window in _windows_of(config)]
    shared = Gated(config.activation("hidden_act"), config.count("shared_expert_intermediate_size"), bias=False)
    router = SoftmaxFirst(renormalized=config.flag("norm_topk_prob"))
    mixture = mixture_of(config, router, shared=Shared(shared, gated=True))
    return decoder_of(config, with_mixtures(config, layers, mixture))


def _windows_of(config: Config) -> list[AttentionWindow]:
    """Every other layer below `max_window_layers` is sliding, if `use_sliding_window` is true."""
    slides, first_full = config.flag("use_sliding_window"), config.count("max_window_layers", least=0)
    unstated = [
        SLIDING if slides and layer % 2 == 0 and layer < first_full else FULL for layer in range(layers_of(config))
    ]
    return windows_of(config, window_of(config) if slides else Full(), unstated)


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    shared = {f"ffn.shared.{part}": f"mlp.shared_expert.{part}_proj" for part in ("gate", "up", "down")}
    parts = {**PARTS, **ROUTER, **shared, "ffn.shared_gate": "mlp.shared_expert_gate"}
    return stored_parts(spec, parts) | stored_experts(spec, ExpertNames())


DEFAULTS = {
    **QWEN2,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": None,
    "qkv_bias": True,
    "decoder_sparse_step": 1,
    "moe_intermediate_size": 1408,
    "shared_expert_intermediate_size": 5632,
    "num_experts_per_tok": 4,
    "num_experts": 60,
    "norm_topk_prob": False,
    "mlp_only_layers": None,
}

FAMILY = Family(
    decoder=decoder,
    weights_of=weights_of,
    defaults=DEFAULTS,
    nullable=frozenset({"sliding_window"}),
    keys=KEYS,
)
