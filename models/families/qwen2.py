"""Qwen2 and Qwen2.5: Llama with biases for queries, keys and values, and a window in some layers."""

from models.families.attention_windows import upper_windows
from models.families.config import Config
from models.families.family import Family
from models.families.llama import COMMON, decoder_of, layer_of, weights_of, with_attention
from models.spec import DecoderSpec

DEFAULTS = {
    **COMMON,
    "vocab_size": 151_936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
    "layer_types": None,
}

NULLABLE = frozenset({"num_key_value_heads", "sliding_window"})


def decoder(config: Config) -> DecoderSpec:
    layer = with_attention(layer_of(config), qkv_bias=True, out_bias=False)
    return decoder_of(config, [with_attention(layer, window=window) for window in upper_windows(config)])


FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS, nullable=NULLABLE)
