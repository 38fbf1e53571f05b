"""SmolLM3: Llama without position encoding in some layers, by default in every fourth (NoPE)."""

from models.families.attention_windows import FULL, SLIDING, window_of, windows_of
from models.families.config import Config
from models.families.family import Family
from models.families.llama import DEFAULTS as LLAMA
from models.families.llama import decoder_of, layer_of, layers_of, weights_of, with_attention
from models.spec import DecoderSpec, Full, NoPosition


def decoder(config: Config) -> DecoderSpec:
    rotary = layer_of(config, bias=config.flag("attention_bias"), ffn_bias=config.flag("mlp_bias"))
    without_position = with_attention(rotary, position=NoPosition())
    near, is_rotary = window_of(config), _is_rotary(config)
    is_sliding = config.flag("use_sliding_window") and near != Full()
    unstated = [SLIDING if is_sliding and not rotates else FULL for rotates in is_rotary]
    kinds = [rotary if rotates else without_position for rotates in is_rotary]
    windows = windows_of(config, near, unstated)
    return decoder_of(
        config, [with_attention(kind, window=window) for kind, window in zip(kinds, windows, strict=True)]
    )


def _is_rotary(config: Config) -> list[bool]:
    """Whether each layer has rotary positions. Despite its name, `no_rope_layers` has 1 for layers that have them."""
    n_layers, listed = layers_of(config), config.stated("no_rope_layers")
    interval = config.count("no_rope_layer_interval")
    if listed is None:
        return [(layer + 1) % interval != 0 for layer in range(n_layers)]
    if not isinstance(listed, list) or len(listed) < n_layers or any(flag not in (0, 1) for flag in listed):
        raise config.refusal("no_rope_layers", f"a list of 0 or 1 for {n_layers} layers")
    return [bool(flag) for flag in listed[:n_layers]]


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
