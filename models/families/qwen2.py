"""Qwen2 and Qwen2.5: Llama whose queries, keys and values have biases, some layers with a window."""

from dataclasses import replace

from models.families.config import Config
from models.families.family import Family
from models.families.llama import decoder_of, layer_of, weights_of
from models.families.reach import reaches_of
from models.spec import DecoderSpec


def spec_of(config: Config) -> DecoderSpec:
    layer = replace(layer_of(config), qkv_bias=True, out_bias=False)
    return decoder_of(config, [replace(layer, reach=reach) for reach in reaches_of(config)])


FAMILY = Family(spec_of, weights_of)
