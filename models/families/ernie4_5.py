"""ERNIE 4.5: Llama with rotation of neighboring features."""

from models.families.config import Config
from models.families.family import Family
from models.families.llama import COMMON, PARTS, decoder_of, layer_of, layers_of
from models.families.views import Stored, interleaved, stored_parts
from models.spec import DecoderSpec


def decoder(config: Config) -> DecoderSpec:
    bias = config.stated("use_bias") is not None and config.flag("use_bias")
    return decoder_of(config, [layer_of(config, bias=bias, ffn_bias=bias)] * layers_of(config))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    return stored_parts(spec, {**PARTS, **interleaved(spec)})


DEFAULTS = {
    **COMMON,
    "vocab_size": 103_424,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 18,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500_000.0,
    "use_bias": False,
    "tie_word_embeddings": True,
}

NULLABLE = frozenset({"num_key_value_heads", "head_dim", "use_bias"})

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS, nullable=NULLABLE)
