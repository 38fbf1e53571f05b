"""Mistral: Llama whose layers see a window of the last tokens."""

from dataclasses import replace

from models.families.config import Config
from models.families.family import Family
from models.families.llama import decoder_of, layer_of, weights_of
from models.families.reach import window_of
from models.spec import DecoderSpec


def spec_of(config: Config) -> DecoderSpec:
    layer = replace(layer_of(config), reach=window_of(config))
    return decoder_of(config, [layer] * config.count("num_hidden_layers"))


FAMILY = Family(spec_of, weights_of)
