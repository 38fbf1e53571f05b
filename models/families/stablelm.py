"""StableLM: Llama with LayerNorm and partial rotary positions. Parallel sublayers share one norm."""

from dataclasses import replace

from models.families.config import Config
from models.families.family import Family
from models.families.llama import COMMON, PARTS, attention_of, decoder_of, layers_of, share_of_stream
from models.families.rope import rotary_of
from models.families.switches import Switch
from models.families.views import Stored, stored_parts
from models.spec import DecoderSpec, Gated, LayerNorm, LayerSpec, Parallel, Sequential


def decoder(config: Config) -> DecoderSpec:
    position = rotary_of(config, share_of_stream(config), partial=True)
    layer = LayerSpec(
        mixer=replace(attention_of(config, position, bias=False), qkv_bias=config.flag("use_qkv_bias")),
        ffn=Gated(config.activation("hidden_act"), config.count("intermediate_size"), bias=False),
        norm=LayerNorm(config.number("layer_norm_eps")),
        residual=Parallel() if config.flag("use_parallel_residual") else Sequential(),
    )
    return decoder_of(config, [layer] * layers_of(config))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    shares_norm = isinstance(spec.layers[0].residual, Parallel)
    return stored_parts(spec, PARTS | ({"ffn.norm": "input_layernorm"} if shares_norm else {}))


DEFAULTS = {
    **COMMON,
    "vocab_size": 50304,
    "hidden_size": 2560,
    "intermediate_size": 6912,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
    "layer_norm_eps": 1e-5,
    "partial_rotary_factor": 0.25,
    "use_qkv_bias": False,
    "use_parallel_residual": False,
}

FAMILY = Family(
    decoder=decoder,
    weights_of=weights_of,
    defaults=DEFAULTS,
    switches={"qk_layernorm": Switch("a separate norm for every head")},
)
