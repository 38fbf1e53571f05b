"""Qwen3: Llama whose heads norm queries and keys, with a head size of its own."""

from dataclasses import replace

from models.families.config import Config
from models.families.family import Family
from models.families.llama import PARTS, decoder_of, layer_of, norm_of
from models.families.reach import reaches_of
from models.families.views import Stored, stored_parts
from models.spec import DecoderSpec, HeadNorm

HEAD_DIM = 128
"""What a config means that states no head size: not a share of the residual stream."""


def spec_of(config: Config) -> DecoderSpec:
    config = Config(config.path, {"head_dim": HEAD_DIM} | config.keys)
    layer = replace(layer_of(config), head_norm=HeadNorm(norm_of(config)))
    return decoder_of(config, [replace(layer, reach=reach) for reach in reaches_of(config)])


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    return stored_parts(spec, PARTS | {"attn.query_norm": "self_attn.q_norm", "attn.key_norm": "self_attn.k_norm"})


FAMILY = Family(spec_of, weights_of)
