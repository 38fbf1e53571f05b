"""Norms, activation functions and dense FFNs in MLX; the counterpart of `models/torch_parts.py`."""

from math import pi, sqrt

import mlx.core as mx
from jaxtyping import Float
from mlx import nn

from models import spec as kinds
from models.mlx_kernels import Probe
from models.spec import Activation


def norm_of(norm: kinds.Norm | kinds.NoNorm, features: int) -> nn.Module:
    """The module for a norm."""
    match norm:
        case kinds.NoNorm():
            return nn.Identity()
        case kinds.RMSNorm(eps):
            return nn.RMSNorm(features, eps)
        case kinds.LayerNorm(eps, bias):
            return nn.LayerNorm(features, eps, bias=bias)


def activate(activation: Activation, x: Float[mx.array, "..."]) -> Float[mx.array, "..."]:
    """The activation function of an FFN, element by element."""
    match activation:
        case Activation.RELU:
            return mx.maximum(x, 0)
        case Activation.RELU2:
            return mx.square(mx.maximum(x, 0))
        case Activation.GELU:
            return x * (1 + mx.erf(x / sqrt(2))) / 2
        case Activation.GELU_TANH:
            return x * (1 + mx.tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x))) / 2
        case Activation.SILU:
            return x * mx.sigmoid(x)


def neurons_of(
    ffn: kinds.Dense, up: Float[mx.array, "*token neuron"], gate: Float[mx.array, "*token neuron"] | None
) -> Float[mx.array, "*token neuron"]:
    """The activations of the neurons of a dense FFN or an expert."""
    if gate is None:
        return activate(ffn.activation, up)
    if not isinstance(ffn, kinds.Clamped):
        return activate(ffn.activation, gate) * up
    gate, up = mx.minimum(gate, ffn.limit), mx.clip(up, -ffn.limit, ffn.limit)
    return (up + 1) * gate * mx.sigmoid(ffn.steepness * gate)


class Dense(nn.Module):
    """An FFN of one hidden layer."""

    def __init__(self, ffn: kinds.Dense, d_model: int) -> None:
        super().__init__()
        self.kind = ffn
        self.gate = nn.Linear(d_model, ffn.d_ff, ffn.bias) if isinstance(ffn, kinds.Gated) else None
        self.up = nn.Linear(d_model, ffn.d_ff, ffn.bias)
        self.down = nn.Linear(ffn.d_ff, d_model, ffn.bias)

    def written(self, x: Float[mx.array, "token model"], site: str, see: Probe) -> Float[mx.array, "token model"]:
        """The output for a normed input; `site` is the name of its neurons."""
        gate = None if self.gate is None else self.gate(x)
        output: mx.array = self.down(see(site, neurons_of(self.kind, self.up(x), gate)))
        return output
