"""StarCoder2: LayerNorm, rotary positions, grouped-query attention, FFN without a gate, biases."""

from dataclasses import replace

from models.families.attention_windows import window_of
from models.families.config import Config
from models.families.family import Family
from models.families.llama import COMMON, PARTS, attention_of, decoder_of, head_dim_of, layers_of
from models.families.rope import rotary_of
from models.families.views import Stored, stored_parts
from models.spec import DecoderSpec, LayerNorm, LayerSpec, Plain, Sequential


def decoder(config: Config) -> DecoderSpec:
    bias = config.flag("use_bias")
    layer = LayerSpec(
        mixer=replace(attention_of(config, rotary_of(config, head_dim_of(config)), bias), window=window_of(config)),
        ffn=Plain(config.activation("hidden_act"), config.count("intermediate_size"), bias),
        norm=LayerNorm(config.number("norm_epsilon")),
        residual=Sequential(),
    )
    return decoder_of(config, [layer] * layers_of(config))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    return stored_parts(spec, PARTS | {"ffn.up": "mlp.c_fc", "ffn.down": "mlp.c_proj"})


DEFAULTS = {
    **COMMON,
    "vocab_size": 49152,
    "hidden_size": 3072,
    "intermediate_size": 12288,
    "num_hidden_layers": 30,
    "num_attention_heads": 24,
    "num_key_value_heads": 2,
    "hidden_act": "gelu_pytorch_tanh",
    "max_position_embeddings": 4096,
    "norm_epsilon": 1e-5,
    "sliding_window": None,
    "use_bias": True,
    "tie_word_embeddings": True,
}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS)
