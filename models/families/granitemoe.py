"""Granite 3 with mixtures of experts: Granite's multipliers, and experts stored in stacks."""

from dataclasses import replace
from math import sqrt

from models.families import granite
from models.families.config import Config
from models.families.experts import LOCAL, mixture_of, or_stored, stacked
from models.families.family import Family
from models.families.llama import PARTS, decoder_of, head_dim_of, layer_of, layers_of
from models.families.stacks import Interleaved
from models.families.views import Stored, stored_parts
from models.spec import DecoderSpec, TopFirst

_BLOCK = "block_sparse_moe"


def decoder(config: Config) -> DecoderSpec:
    mixture = mixture_of(config, TopFirst(), count="num_local_experts", width="intermediate_size")
    layer = replace(layer_of(config, bias=config.flag("attention_bias")), ffn=mixture)
    return decoder_of(config, [layer] * layers_of(config))


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    found = stored_parts(spec, PARTS | {"ffn.router": f"{_BLOCK}.router.layer"})
    found |= or_stored(found, "ffn.router", f"{_BLOCK}.router")
    for layer in range(spec.n_layers):
        within, ours = f"model.layers.{layer}.", f"layers.{layer}.ffn.experts"
        stacks = stacked(within, _BLOCK, _BLOCK)
        gate_up, down = f"{within}{_BLOCK}.input_linear.weight", f"{within}{_BLOCK}.output_linear.weight"
        found[f"{ours}.gate_up.weight"] = Stored(gate_up, Interleaved(), instead=stacks["gate_up"])
        found[f"{ours}.down.weight"] = Stored(down, instead=stacks["down"])
    return found


def folded(config: Config) -> dict[str, float]:
    """The multipliers of Granite; the one of the FFN is in the last matrices of the experts.

    Without a multiplier, scores are divided by the square root of `head_dim`.
    """
    keys = dict(config.keys)
    if keys["attention_multiplier"] is None:
        keys["attention_multiplier"] = 1 / sqrt(head_dim_of(config))
    found = granite.folded(replace(config, keys=keys))
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
    nullable=frozenset({"attention_multiplier"}),
    folded=folded,
    keys=LOCAL,
)
