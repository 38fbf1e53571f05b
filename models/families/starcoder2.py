"""StarCoder2: LayerNorm, rotary positions, grouped queries, plain FFN, biases throughout."""

from models.families.config import Config
from models.families.family import Family
from models.families.llama import PARTS, decoder_of, head_dim_of
from models.families.reach import window_of
from models.families.rope import rotary_of
from models.families.views import Stored, stored_parts
from models.spec import DecoderSpec, LayerNorm, LayerSpec, Plain, Sequential


def spec_of(config: Config) -> DecoderSpec:
    bias = config.flag("use_bias", True)
    layer = LayerSpec(
        reach=window_of(config),
        position=rotary_of(config, head_dim_of(config)),
        ffn=Plain(config.activation("hidden_act", "gelu_pytorch_tanh"), config.count("intermediate_size"), bias),
        norm=LayerNorm(config.number("norm_epsilon", 1e-5)),
        residual=Sequential(),
        qkv_bias=bias,
        out_bias=bias,
    )
    return decoder_of(config, [layer] * config.count("num_hidden_layers"), tied=True)


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    return stored_parts(spec, PARTS | {"ffn.up": "mlp.c_fc", "ffn.down": "mlp.c_proj"})


FAMILY = Family(spec_of, weights_of)
