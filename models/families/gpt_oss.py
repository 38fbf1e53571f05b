"""gpt-oss: attention with sinks, every other layer sliding, and mixtures of clamped experts with biases."""

from dataclasses import replace

from models.families.attention_windows import FULL, SLIDING, window_of, windows_of
from models.families.config import Config
from models.families.experts import LOCAL, UNUSED
from models.families.family import Family
from models.families.llama import COMMON, PARTS, decoder_of, layer_of, layers_of, with_attention
from models.families.views import Mxfp4, Stored, Swapped, stored_parts
from models.sites import FFN
from models.spec import Activation, Clamped, DecoderSpec, MoE, TopFirst


def decoder(config: Config) -> DecoderSpec:
    n_layers = layers_of(config)
    layer = replace(
        with_attention(layer_of(_with_yarn(config), bias=config.flag("attention_bias")), sinks=True),
        ffn=_mixture_of(config),
    )
    every_other = [FULL if index % 2 else SLIDING for index in range(n_layers)]
    windows = windows_of(config, window_of(config), every_other)
    return decoder_of(_with_yarn(config), [with_attention(layer, window=window) for window in windows])


def _with_yarn(config: Config) -> Config:
    """The config with the YaRN scaling of its class, if it has no table of rotary positions."""
    if config.table("rope_parameters").keys or config.table("rope_scaling").keys:
        return config
    return Config(config.path, {**config.keys, "rope_parameters": _YARN})


def _mixture_of(config: Config) -> MoE:
    n_experts, top_k = config.count("num_local_experts"), config.count("num_experts_per_tok")
    if top_k > n_experts:
        raise config.refusal("num_experts_per_tok", f"at most 'num_local_experts', which is {n_experts}")
    expert = Clamped(
        Activation.SILU,
        config.count("intermediate_size"),
        bias=True,
        limit=config.number("swiglu_limit"),
        steepness=config.number("swiglu_alpha"),
    )
    return MoE(n_experts=n_experts, top_k=top_k, expert=expert, router=TopFirst(), router_bias=True)


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    found = stored_parts(spec, PARTS | {"ffn.router": "mlp.router"})
    for layer in range(spec.n_layers):
        theirs, ours = f"model.layers.{layer}", f"layers.{layer}"
        found[f"{ours}.attn.sinks"] = Stored(f"{theirs}.self_attn.sinks")
        for name, part in (("gate_up_proj", "gate_up"), ("down_proj", "down")):
            stack, tensor = f"{ours}.{FFN}.experts.{part}", f"{theirs}.mlp.experts.{name}"
            packed = Stored(f"{tensor}_blocks", others=(f"{tensor}_scales",), join=Mxfp4())
            found[f"{stack}.weight"] = Stored(tensor, Swapped(), instead=packed)
            found[f"{stack}.bias"] = Stored(f"{tensor}_bias")
    return found


_YARN = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}

DEFAULTS = {
    **COMMON,
    "vocab_size": 201_088,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "num_hidden_layers": 36,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 150_000.0,
    "sliding_window": 128,
    "layer_types": None,
    "attention_bias": True,
    "num_local_experts": 128,
    "num_experts_per_tok": 4,
    "swiglu_alpha": 1.702,
    "swiglu_limit": 7.0,
}

FAMILY = Family(
    decoder=decoder,
    weights_of=weights_of,
    defaults=DEFAULTS,
    nullable=frozenset({"num_key_value_heads", "head_dim"}),
    aliases={"num_experts": "num_local_experts"},
    harmless=UNUSED | {"initial_context_length"},
    keys=LOCAL,
)
