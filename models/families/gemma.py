"""Gemma: Llama with a wide embedding, GELU, and norms whose weights are stored less one; what Gemma 2 and 3 vary."""

from math import sqrt

from models.families.config import Config
from models.families.family import Family
from models.families.llama import PARTS, decoder_of, layer_of
from models.families.views import LessOne, Part, Stored, stored_parts
from models.spec import DecoderSpec

HEAD_DIM = 256
"""What a config means that states no head size."""

NORMS: dict[str, Part] = {
    "attn.norm": ("input_layernorm", LessOne()),
    "ffn.norm": ("post_attention_layernorm", LessOne()),
}


def complete(config: Config) -> Config:
    """The config with what Gemma means where it is silent: its head size, and the tanh form of GELU."""
    config.refuse("use_bidirectional_attention", "attention to later tokens")
    stated = config.keys.get("hidden_activation") or config.keys.get("hidden_act") or "gelu_pytorch_tanh"
    exact = {"gelu": "gelu_pytorch_tanh"}
    return Config(config.path, {"head_dim": HEAD_DIM} | config.keys | {"hidden_act": exact.get(stated, stated)})


def spec_of(config: Config) -> DecoderSpec:
    config = complete(config)
    return decoder_of(config, [layer_of(config)] * config.count("num_hidden_layers"), tied=True)


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    return stored_parts(spec, {**PARTS, **NORMS}, norm=("norm", LessOne()))


def multipliers(config: Config) -> dict[str, float]:
    """Embeddings count `√d_model` times; a tied head reads with them, so the norm before it takes that back."""
    embedding = sqrt(config.count("hidden_size"))
    return {"embed": embedding, "head.norm": 1 / embedding if config.flag("tie_word_embeddings", True) else 1.0}


FAMILY = Family(spec_of, weights_of, multipliers=multipliers)
