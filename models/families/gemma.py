"""Gemma: Llama with scaled embeddings, GELU, and norms whose weights are stored minus 1. Gemma 2 and 3 build on it."""

from math import sqrt

from models.families.config import Config
from models.families.family import Family
from models.families.llama import COMMON, PARTS, decoder_of, layer_of, layers_of
from models.families.views import LessOne, Part, Stored, stored_parts
from models.spec import DecoderSpec

NORMS: dict[str, Part] = {
    "attn.norm": ("input_layernorm", LessOne()),
    "ffn.norm": ("post_attention_layernorm", LessOne()),
}

DEFAULTS = {
    **COMMON,
    "vocab_size": 256_000,
    "hidden_size": 3072,
    "intermediate_size": 24576,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-6,
    "attention_bias": False,
    "tie_word_embeddings": True,
}


def decoder(config: Config) -> DecoderSpec:
    """The decoder of Gemma 1. In its configs, `gelu` means the tanh approximation."""
    if config.stated("hidden_act") == "gelu":
        config = Config(config.path, {**config.keys, "hidden_act": "gelu_pytorch_tanh"})
    layer = layer_of(config, bias=config.flag("attention_bias"))
    return decoder_of(config, [layer] * layers_of(config))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    return stored_parts(spec, {**PARTS, **NORMS}, norm=("norm", LessOne()))


def folded(config: Config) -> dict[str, float]:
    """Multipliers: `√d_model` for embeddings. A tied head uses the same weights, so its norm is divided by that."""
    embedding = sqrt(config.count("hidden_size"))
    return {"embed": embedding, "head.norm": 1 / embedding if config.flag("tie_word_embeddings") else 1.0}


FAMILY = Family(
    decoder=decoder, weights_of=weights_of, defaults=DEFAULTS, folded=folded, harmless=frozenset({"hidden_activation"})
)
