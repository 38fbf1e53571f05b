"""Seed-OSS: Llama with biases for queries, keys and values, and with `head_dim` as a key of the config."""

from models.families import llama
from models.families.config import Config
from models.families.family import Family
from models.families.llama import decoder_of, layer_of, layers_of, weights_of, with_attention
from models.spec import DecoderSpec


def decoder(config: Config) -> DecoderSpec:
    plain = layer_of(config, ffn_bias=config.flag("mlp_bias"))
    biases = {"qkv_bias": config.flag("attention_bias"), "out_bias": config.flag("attention_out_bias")}
    return decoder_of(config, [with_attention(plain, **biases)] * layers_of(config))


DEFAULTS = {
    **llama.DEFAULTS,
    "vocab_size": 155_136,
    "intermediate_size": 27648,
    "num_hidden_layers": 64,
    "num_attention_heads": 80,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 524_288,
    "attention_bias": True,
    "attention_out_bias": False,
}

NULLABLE = frozenset({"num_key_value_heads", "head_dim"})

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS, nullable=NULLABLE)
