"""Arcee: Llama with squared ReLU instead of a gate."""

from dataclasses import replace

from models.families import llama
from models.families.config import Config
from models.families.family import Family
from models.families.llama import decoder_of, layer_of, layers_of, weights_of
from models.spec import DecoderSpec, Plain


def decoder(config: Config) -> DecoderSpec:
    ffn = Plain(config.activation("hidden_act"), config.count("intermediate_size"), config.flag("mlp_bias"))
    layer = replace(layer_of(config, bias=config.flag("attention_bias")), ffn=ffn)
    return decoder_of(config, [layer] * layers_of(config))


DEFAULTS = {
    **llama.DEFAULTS,
    "hidden_size": 2560,
    "intermediate_size": 18432,
    "hidden_act": "relu2",
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS)
