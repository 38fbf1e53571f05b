"""gpt-oss: attention with sinks, every other layer sliding, and mixtures of clamped experts with biases."""

from dataclasses import replace

from models.families.attention_windows import FULL, SLIDING, window_of, windows_of
from models.families.config import Config
from models.families.experts import LOCAL
from models.families.family import Family
from models.families.llama import (
    COMMON,
    PARTS,
    attention_of,
    decoder_of,
    head_dim_of,
    layers_of,
    norm_of,
    with_attention,
)
from models.families.rope import rotary_of
from models.families.stacks import Halves, Mxfp4, Swapped
from models.families.views import Stored, stored_parts
from models.sites import FFN
from models.spec import Activation, Clamped, DecoderSpec, LayerSpec, MoE, Sequential, TopFirst


def decoder(config: Config) -> DecoderSpec:
    config = _with_yarn(config)
    position = rotary_of(config, head_dim_of(config))
    attention = replace(attention_of(config, position, config.flag("attention_bias")), sinks=True)
    layer = LayerSpec(mixer=attention, ffn=_mixture_of(config), norm=norm_of(config), residual=Sequential())
    every_other = [FULL if index % 2 else SLIDING for index in range(layers_of(config))]
    windows = windows_of(config, window_of(config), every_other)
    return decoder_of(config, [with_attention(layer, window=window) for window in windows])


def _with_yarn(config: Config) -> Config:
    """The config with the YaRN scaling of its class, if it has no table of rotary positions."""
    if config.keys["rope_parameters"] is not None or config.table("rope_scaling").keys:
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
        for part, split in (("gate_up", ("gate_proj", "up_proj")), ("down", ("down_proj",))):
            stack, within = f"{ours}.{FFN}.experts.{part}", f"{theirs}.mlp.experts."
            tensor = f"{within}{part}_proj"
            quantized = Stored(
                f"{tensor}_blocks",
                others=(f"{tensor}_scales",),
                join=Mxfp4(),
                instead=_separate(within, split, "weight"),
            )
            found[f"{stack}.weight"] = Stored(tensor, Swapped(), instead=quantized)
            found[f"{stack}.bias"] = Stored(f"{tensor}_bias", instead=_separate(within, split, "bias"))
    return found


def _separate(within: str, split: tuple[str, ...], kind: str) -> Stored:
    """The stacks of mlx-lm, which has gates and ups in two."""
    tensors = [f"{within}{part}.{kind}" for part in split]
    return Stored(tensors[0], others=tuple(tensors[1:]), join=Halves() if len(split) > 1 else None)


_YARN = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}

DEFAULTS = {
    **{key: value for key, value in COMMON.items() if key != "hidden_act"},
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
    aliases={"num_experts": "num_local_experts"},
    harmless=frozenset({"hidden_act", "initial_context_length", "experts_per_token"}),
    keys=LOCAL,
)
