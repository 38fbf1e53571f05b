"""SmolLM3: Llama with some layers, by default every fourth, that do not tell positions apart."""

from dataclasses import replace

from models.errors import SpecError
from models.families.config import Config
from models.families.family import Family
from models.families.llama import decoder_of, layer_of, weights_of
from models.families.reach import reaches_of
from models.spec import DecoderSpec, NoPosition


def spec_of(config: Config) -> DecoderSpec:
    turning = layer_of(config)
    still = replace(turning, position=NoPosition())
    reaches, turns = reaches_of(config), _turns_of(config)
    layers = [replace(turning if turn else still, reach=reach) for turn, reach in zip(turns, reaches, strict=True)]
    return decoder_of(config, layers, tied=True)


def _turns_of(config: Config) -> list[bool]:
    """Which layers turn queries and keys; `no_rope_layers`, in spite of its name, holds 1 for those that do."""
    n_layers, listed = config.count("num_hidden_layers"), config.keys.get("no_rope_layers")
    if listed is None:
        interval = config.count("no_rope_layer_interval", 4)
        return [(layer + 1) % interval != 0 for layer in range(n_layers)]
    if not isinstance(listed, list) or len(listed) != n_layers:
        raise SpecError(f"{config.path}: 'no_rope_layers' is {listed!r}; it must hold 0 or 1 for {n_layers} layers")
    return [bool(turn) for turn in listed]


FAMILY = Family(spec_of, weights_of)
