"""StableLM: Llama with LayerNorm and partial rotary positions. Parallel sublayers share one norm."""

from dataclasses import replace

from models.families.config import Config
from models.families.family import Family
from models.families.llama import COMMON, PARTS, attention_of, decoder_of, layers_of, share_of_stream
from models.families.rope import rotary_of
from models.families.views import Stored, stored_parts
from models.spec import DecoderSpec, Gated, LayerNorm, LayerSpec, NoHeadNorm, OwnHeadNorm, Parallel, Sequential


def decoder(config: Config) -> DecoderSpec:
    position = rotary_of(config, share_of_stream(config), partial=True)
    norm = LayerNorm(config.number("layer_norm_eps"))
    layer = LayerSpec(
        mixer=replace(
            attention_of(config, position, bias=False),
            qkv_bias=config.flag("use_qkv_bias"),
            head_norm=OwnHeadNorm(replace(norm, bias=False)) if config.flag("qk_layernorm") else NoHeadNorm(),
        ),
        ffn=Gated(config.activation("hidden_act"), config.count("intermediate_size"), bias=False),
        norm=norm,
        residual=Parallel() if config.flag("use_parallel_residual") else Sequential(),
    )
    return decoder_of(config, [layer] * layers_of(config))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    attention, shares_norm = spec.layers[0].attention, isinstance(spec.layers[0].residual, Parallel)
    parts = PARTS | ({"ffn.norm": "input_layernorm"} if shares_norm else {})
    for side, theirs, heads in (("query", "q", attention.n_heads), ("key", "k", attention.n_kv_heads)):
        parts |= {
            f"attn.{side}_norm.norms.{head}": f"self_attn.{theirs}_layernorm.norms.{head}" for head in range(heads)
        }
    return stored_parts(spec, parts)


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
    "qk_layernorm": False,
}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS)
