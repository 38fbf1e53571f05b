"""StableLM: Llama with LayerNorm and partly rotary heads; in parallel, both sublayers share one norm."""

from models.families.config import Config
from models.families.family import Family
from models.families.llama import PARTS, decoder_of, head_dim_of
from models.families.rope import rotary_of
from models.families.views import Stored, stored_parts
from models.spec import DecoderSpec, Full, Gated, LayerNorm, LayerSpec, Parallel, Sequential


def spec_of(config: Config) -> DecoderSpec:
    config.refuse("qk_layernorm", "a norm of its own for every head")
    layer = LayerSpec(
        reach=Full(),
        position=rotary_of(config, head_dim_of(config), share_key="partial_rotary_factor", share=0.25),
        ffn=Gated(config.activation("hidden_act", "silu"), config.count("intermediate_size"), bias=False),
        norm=LayerNorm(config.number("layer_norm_eps", 1e-5)),
        residual=Parallel() if config.flag("use_parallel_residual", False) else Sequential(),
        qkv_bias=config.flag("use_qkv_bias", False),
        out_bias=False,
    )
    return decoder_of(config, [layer] * config.count("num_hidden_layers"))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    shares_norm = isinstance(spec.layers[0].residual, Parallel)
    return stored_parts(spec, PARTS | ({"ffn.norm": "input_layernorm"} if shares_norm else {}))


FAMILY = Family(spec_of, weights_of)
