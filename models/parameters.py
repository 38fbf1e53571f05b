"""Name and shape of every parameter of a decoder, for torch, MLX and ONNX."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from math import prod
from types import MappingProxyType

from models.spec import DecoderSpec, LayerSpec, Learned, Projected
from models.sublayers.sublayer import Parameter, Use, normed

Shapes = dict[str, tuple[int, ...]]


def _inside(name: str, parameters: Iterator[Parameter]) -> Iterator[Parameter]:
    for parameter in parameters:
        yield replace(parameter, name=f"{name}.{parameter.name}")


def _layer(spec: DecoderSpec, layer: LayerSpec, name: str) -> Iterator[Parameter]:
    for slot, sublayer in layer.sublayers.items():
        if layer.norms_before:
            yield from normed(f"{name}.{slot}.norm", layer.norm, spec.d_model)
        yield from _inside(f"{name}.{slot}", sublayer.parameters(spec.d_model))
        if layer.norms_after:
            yield from normed(f"{name}.{slot}.after", layer.norm, spec.d_model)
        if layer.norms_sum:
            yield from normed(f"{name}.{slot}_sum", layer.norm, spec.d_model)


def _all(spec: DecoderSpec) -> Iterator[Parameter]:
    table, width = (spec.vocab_size, spec.token_width), spec.token_width
    sizes = ("vocab_size", "d_model")
    yield Parameter("embed.weight", table, sizes, product=True)
    if isinstance(spec.embedded, Projected):
        yield Parameter("embed.project.weight", (spec.d_model, width), product=True)
    if isinstance(spec.positions, Learned):
        yield Parameter("embed.positions", (spec.positions.length, spec.d_model))
    for index, layer in enumerate(spec.layers):
        yield from _layer(spec, layer, f"layers.{index}")
    yield from normed("head.norm", spec.norm, spec.d_model)
    if isinstance(spec.embedded, Projected):
        yield Parameter("head.project.weight", (width, spec.d_model), product=True)
    if not spec.tied:
        yield Parameter("head.weight", table, sizes, product=True)
    if spec.head_bias:
        yield Parameter("head.bias", (spec.vocab_size,), sizes)


@lru_cache(maxsize=8)
def parameters_of(spec: DecoderSpec) -> MappingProxyType[str, Parameter]:
    """All parameters by name, in order of computation."""
    return MappingProxyType({parameter.name: parameter for parameter in _all(spec)})


def parameter_shapes(spec: DecoderSpec) -> Shapes:
    """All parameters in order of computation. A linear weight is (output, input); a tied head has none."""
    return {name: parameter.shape for name, parameter in parameters_of(spec).items()}


def part_of(parameter: str) -> str:
    """A parameter's part of a layer, or of the decoder: `layers.3.attn.query.weight` belongs to `attn.query`."""
    return re.sub(r"^layers\.\d+\.|\.(weight|bias)$", "", parameter)


def uses_of(spec: DecoderSpec, tokens: int) -> dict[str, Use]:
    """How a pass over `tokens` tokens uses each parameter, as its sublayer says."""
    sublayers, uses = dict(spec.sublayers()), dict[str, Use]()
    for name, parameter in parameters_of(spec).items():
        *scope, own = name.split(".", 3)
        sublayer = sublayers.get(".".join(scope))
        uses[name] = Use(1.0, tokens) if sublayer is None else sublayer.use(replace(parameter, name=own), tokens)
    return uses


def parameter_count(spec: DecoderSpec) -> int:
    """Number of parameters; tied ones count once."""
    return sum(prod(shape) for shape in parameter_shapes(spec).values())


def active_count(spec: DecoderSpec) -> int:
    """Number of parameters that one token uses."""
    return round(sum(active_counts(spec).values()))


def active_counts(spec: DecoderSpec) -> dict[str, float]:
    """How many numbers of each parameter one token uses: all, except in a mixture, where it chooses a few experts."""
    return {name: use.share * prod(parameters_of(spec)[name].shape) for name, use in uses_of(spec, 1).items()}
