"""HunYuan, dense: Llama with norms of queries and keys after rotation, and a rotary base scaled by `alpha`."""

from dataclasses import replace

from models.families import llama
from models.families.config import Config
from models.families.family import Family
from models.families.llama import PARTS, decoder_of, head_dim_of, layer_of, layers_of, norm_of, with_attention
from models.families.rope import kind_of, rope_key, rotary_of
from models.families.views import Stored, stored_parts
from models.spec import DecoderSpec, Rotary, RotatedHeadNorm


def decoder(config: Config) -> DecoderSpec:
    plain = layer_of(config, _rotary_of(config), bias=config.flag("attention_bias"))
    layer = with_attention(plain, head_norm=RotatedHeadNorm(norm_of(config)))
    return decoder_of(config, [layer] * layers_of(config))


def _rotary_of(config: Config) -> Rotary:
    """The rotary positions. With `alpha`, the type `dynamic` means another base (NTK scaling) for texts of any length.

    The base is `rope_theta * alpha ** (head_dim / (head_dim - 2))`.
    """
    table, head_dim = config.table(rope_key(config)), head_dim_of(config)
    unscaled = rotary_of(config, head_dim)
    if kind_of(table) != "dynamic" or not table.keys.get("alpha"):
        return unscaled
    if head_dim <= 2:
        raise config.refusal("head_dim", "above 2, for the scaling by 'alpha'")
    scale = table.number("alpha") ** (head_dim / (head_dim - 2))
    return replace(unscaled, base=Config(config.path, {"rope_theta": unscaled.base * scale}).number("rope_theta"))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    norms = {"attn.query_norm": "self_attn.query_layernorm", "attn.key_norm": "self_attn.key_layernorm"}
    return stored_parts(spec, PARTS | norms)


DEFAULTS = {
    **{key: value for key, value in llama.DEFAULTS.items() if key != "mlp_bias"},
    "vocab_size": 290_943,
    "rms_norm_eps": 1e-5,
}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS)
