"""Two kinds of sublayers that no model has, in as few lines as a new kind takes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import mlx.core as mx
import torch
from mlx import nn as mlx_nn
from torch import Tensor, nn

from models import decoder, mlx_decoder
from models.sites import layer_site
from models.spec import FFN, Activation, DecoderSpec, LayerSpec, Mixer
from models.sublayers.states import Fixed, State
from models.sublayers.sublayer import Parameter, SiteAxes, linear
from models.sublayers.work import NOTHING, Work


@dataclass(frozen=True)
class Squares(FFN):
    """`down(up(x)²)`."""

    d_ff: int

    activation: ClassVar[Activation] = Activation.RELU2  # type: ignore[misc]
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {"norm": ("norm",), "up": ("up",), "square": (), "down": ("down",)}
    rest: ClassVar[str] = "square"

    def check(self, where: str) -> None:
        """Any size goes."""

    def parameters(self, d_model: int) -> Iterator[Parameter]:
        yield from linear("up", self.d_ff, d_model, False, ("d_ff", "d_model"))
        yield from linear("down", d_model, self.d_ff, False, ("d_ff", "d_model"))

    def sites(self) -> Mapping[str, SiteAxes]:
        return {"neurons": SiteAxes("token", {"neuron": self.d_ff})}

    def work(self, float_bytes: int, tokens: int, depth: int) -> Work:
        return NOTHING


@dataclass(frozen=True)
class Sum(Mixer):
    """The sum of the values of all tokens so far: a state of fixed size."""

    width: int

    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "norm": ("norm",),
        "value": ("value",),
        "sum": (),
        "out": ("out",),
    }
    rest: ClassVar[str] = "sum"

    def check(self, where: str) -> None:
        """Any size goes."""

    def parameters(self, d_model: int) -> Iterator[Parameter]:
        yield from linear("value", self.width, d_model, False, ("d_model",))
        yield from linear("out", d_model, self.width, False, ("d_model",))

    def sites(self) -> Mapping[str, SiteAxes]:
        return {"sums": SiteAxes("token", {"feature": self.width})}

    def states(self) -> Mapping[str, State]:
        return {"sum": Fixed((1, self.width))}

    def work(self, float_bytes: int, tokens: int, depth: int) -> Work:
        return NOTHING


class TorchSquares(nn.Module):
    def __init__(self, ffn: Squares, spec: DecoderSpec, layer_spec: LayerSpec, layer: int) -> None:
        super().__init__()
        self.layer, self.norm = layer, nn.RMSNorm(spec.d_model, layer_spec.norm.eps)
        self.up, self.down = nn.Linear(spec.d_model, ffn.d_ff, False), nn.Linear(ffn.d_ff, spec.d_model, False)

    def forward(self, x: Tensor, kernels: object, see: decoder.Probe) -> Tensor:
        neurons = see(layer_site(self.layer, "ffn.neurons"), self.up(self.norm(x)).square())
        return see(layer_site(self.layer, "ffn.output"), self.down(neurons))


class TorchSum(nn.Module):
    def __init__(self, mixer: Sum, spec: DecoderSpec, layer_spec: LayerSpec, layer: int) -> None:
        super().__init__()
        self.kind, self.layer, self.norm = mixer, layer, nn.RMSNorm(spec.d_model, layer_spec.norm.eps)
        self.value, self.out = nn.Linear(spec.d_model, mixer.width, False), nn.Linear(mixer.width, spec.d_model, False)

    def forward(self, x: Tensor, kernels: decoder.Kernels, see: decoder.Probe) -> Tensor:
        state = Fixed((1, self.kind.width))
        sums = kernels.recall(self.layer, "sum", state) + self.value(self.norm(x)).cumsum(dim=-2)
        kernels.keep(self.layer, "sum", sums[-1:])
        sums = see(layer_site(self.layer, "attn.sums"), sums)
        return see(layer_site(self.layer, "attn.output"), self.out(torch.tanh(sums)))


class MlxSquares(mlx_nn.Module):
    def __init__(self, ffn: Squares, spec: DecoderSpec, layer_spec: LayerSpec, layer: int) -> None:
        super().__init__()
        self.layer, self.norm = layer, mlx_nn.RMSNorm(spec.d_model, layer_spec.norm.eps)
        self.up, self.down = mlx_nn.Linear(spec.d_model, ffn.d_ff, False), mlx_nn.Linear(ffn.d_ff, spec.d_model, False)

    def __call__(self, x: mx.array, kernels: object, see: mlx_decoder.Probe) -> mx.array:
        neurons = see(layer_site(self.layer, "ffn.neurons"), mx.square(self.up(self.norm(x))))
        return see(layer_site(self.layer, "ffn.output"), self.down(neurons))


class MlxSum(mlx_nn.Module):
    def __init__(self, mixer: Sum, spec: DecoderSpec, layer_spec: LayerSpec, layer: int) -> None:
        super().__init__()
        self.kind, self.layer, self.norm = mixer, layer, mlx_nn.RMSNorm(spec.d_model, layer_spec.norm.eps)
        self.value = mlx_nn.Linear(spec.d_model, mixer.width, False)
        self.out = mlx_nn.Linear(mixer.width, spec.d_model, False)

    def __call__(self, x: mx.array, kernels: mlx_decoder.Kernels, see: mlx_decoder.Probe) -> mx.array:
        before = kernels.recall(self.layer, "sum", Fixed((1, self.kind.width)))
        sums = before + mx.cumsum(self.value(self.norm(x)), axis=0)
        kernels.keep(self.layer, "sum", sums[-1:])
        sums = see(layer_site(self.layer, "attn.sums"), sums)
        return see(layer_site(self.layer, "attn.output"), self.out(mx.tanh(sums)))


decoder.module_of.register(Squares, TorchSquares)
decoder.module_of.register(Sum, TorchSum)
mlx_decoder.module_of.register(Squares, MlxSquares)
mlx_decoder.module_of.register(Sum, MlxSum)
