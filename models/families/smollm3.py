"""SmolLM3: Llama with some layers, by default every fourth, that do not tell positions apart."""

from dataclasses import replace

from models.families.attention_windows import FULL, SLIDING, window_of, windows_of
from models.families.config import Config
from models.families.family import Family
from models.families.llama import DEFAULTS as LLAMA
from models.families.llama import decoder_of, layer_of, layers_of, weights_of
from models.spec import DecoderSpec, Full, NoPosition


def decoder(config: Config) -> DecoderSpec:
    turning = layer_of(config, bias=config.flag("attention_bias"), ffn_bias=config.flag("mlp_bias"))
    still = replace(turning, position=NoPosition())
    near, turns = window_of(config), _turns_of(config)
    is_sliding = config.flag("use_sliding_window") and near != Full()
    unstated = [SLIDING if is_sliding and not turn else FULL for turn in turns]
    windows = windows_of(config, near, unstated)
    layers = [replace(turning if turn else still, window=window) for turn, window in zip(turns, windows, strict=True)]
    return decoder_of(config, layers)


def _turns_of(config: Config) -> list[bool]:
    """Which layers turn queries and keys; `no_rope_layers`, in spite of its name, holds 1 for those that do."""
    n_layers, listed = layers_of(config), config.stated("no_rope_layers")
    interval = config.count("no_rope_layer_interval")
    if listed is None:
        return [(layer + 1) % interval != 0 for layer in range(n_layers)]
    if not isinstance(listed, list) or len(listed) < n_layers or any(turn not in (0, 1) for turn in listed):
        raise config.refusal("no_rope_layers", f"a list of 0 or 1 for {n_layers} layers")
    return [bool(turn) for turn in listed[:n_layers]]


DEFAULTS = {
    **LLAMA,
    "vocab_size": 128_256,
    "hidden_size": 2048,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "rope_theta": 2_000_000.0,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "sliding_window": None,
    "layer_types": None,
    "no_rope_layers": None,
    "no_rope_layer_interval": 4,
}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS, nullable=frozenset({"num_key_value_heads"}))
