"""Mistral: Llama with a sliding attention window."""

from models.families.attention_windows import window_of
from models.families.config import Config
from models.families.family import Family
from models.families.llama import COMMON, decoder_of, layer_of, layers_of, weights_of, with_attention
from models.spec import DecoderSpec


def decoder(config: Config) -> DecoderSpec:
    layer = with_attention(layer_of(config), window=window_of(config))
    return decoder_of(config, [layer] * layers_of(config))


DEFAULTS = {
    **COMMON,
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-6,
    "sliding_window": 4096,
}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS, nullable=frozenset({"sliding_window"}))
