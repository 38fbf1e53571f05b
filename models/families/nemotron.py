"""Nemotron: LayerNorm whose weights are stored minus 1, squared ReLU without a gate, partial rotary positions."""

from models.families.config import Config
from models.families.family import Family
from models.families.llama import COMMON, PARTS, attention_of, decoder_of, head_dim_of, layers_of
from models.families.rope import rotary_of
from models.families.views import LessOne, Part, Stored, stored_parts
from models.spec import DecoderSpec, LayerNorm, LayerSpec, Plain, Sequential


def decoder(config: Config) -> DecoderSpec:
    position = rotary_of(config, head_dim_of(config), partial=True)
    layer = LayerSpec(
        mixer=attention_of(config, position, config.flag("attention_bias")),
        ffn=Plain(config.activation("hidden_act"), config.count("intermediate_size"), config.flag("mlp_bias")),
        norm=LayerNorm(config.number("norm_eps")),
        residual=Sequential(),
    )
    return decoder_of(config, [layer] * layers_of(config))


_NORMS: dict[str, Part] = {
    "attn.norm": ("input_layernorm", LessOne()),
    "ffn.norm": ("post_attention_layernorm", LessOne()),
}


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    """The tensors, with biases of norms as they are: only weights are stored minus 1."""
    found = stored_parts(spec, {**PARTS, **_NORMS}, norm=("norm", LessOne()))
    return found | {name: Stored(stored.tensor) for name, stored in found.items() if name.endswith(".bias")}


DEFAULTS = {
    **COMMON,
    "vocab_size": 256_000,
    "hidden_size": 6144,
    "intermediate_size": 24576,
    "num_attention_heads": 48,
    "hidden_act": "relu2",
    "max_position_embeddings": 4096,
    "norm_eps": 1e-5,
    "partial_rotary_factor": 0.5,
    "attention_bias": False,
    "mlp_bias": False,
}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS)
