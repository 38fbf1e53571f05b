"""Granite 3 with mixtures of experts: Granite's multipliers, and experts stored in stacks."""

from dataclasses import replace

from models.families import granite
from models.families.config import Config
from models.families.experts import LOCAL, UNUSED, mixture_of
from models.families.family import Family
from models.families.llama import PARTS, decoder_of, layer_of, layers_of
from models.families.views import InTurn, Part, Stored, stored_parts
from models.spec import DecoderSpec, TopFirst

_EXPERTS: dict[str, Part] = {
    "ffn.router": "block_sparse_moe.router.layer",
    "ffn.experts.gate_up": ("block_sparse_moe.input_linear", InTurn()),
    "ffn.experts.down": "block_sparse_moe.output_linear",
}


def decoder(config: Config) -> DecoderSpec:
    mixture = mixture_of(config, TopFirst(), count="num_local_experts", width="intermediate_size")
    layer = replace(layer_of(config, bias=config.flag("attention_bias")), ffn=mixture)
    return decoder_of(config, [layer] * layers_of(config))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    return stored_parts(spec, {**PARTS, **_EXPERTS})


def folded(config: Config) -> dict[str, float]:
    """The multipliers of Granite; the one of the FFN is in the last matrices of the experts."""
    found = granite.folded(config)
    return found | {"ffn.experts.down": found.pop("ffn.down")}


DEFAULTS = {
    **{key: value for key, value in granite.DEFAULTS.items() if key != "mlp_bias"},
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}

FAMILY = Family(
    decoder=decoder,
    weights_of=weights_of,
    defaults=DEFAULTS,
    folded=folded,
    harmless=UNUSED,
    keys=LOCAL,
)
