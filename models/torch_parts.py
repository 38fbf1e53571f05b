"""Norms, activation functions and dense FFNs in torch, for the decoder and its mixtures of experts."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models import spec as kinds
from models.kernels import Probe
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


def activate(activation: Activation, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The activation function of an FFN, element by element."""
    match activation:
        case Activation.RELU:
            return F.relu(x)
        case Activation.RELU2:
            return F.relu(x).square()
        case Activation.GELU:
            return F.gelu(x)
        case Activation.GELU_TANH:
            return F.gelu(x, approximate="tanh")
        case Activation.SILU:
            return F.silu(x)


def neurons_of(
    ffn: kinds.Dense, up: Float[Tensor, "*token neuron"], gate: Float[Tensor, "*token neuron"] | None
) -> Float[Tensor, "*token neuron"]:
    """The activations of the neurons of a dense FFN or an expert."""
    if gate is None:
        return activate(ffn.activation, up)
    if not isinstance(ffn, kinds.Clamped):
        return activate(ffn.activation, gate) * up
    gate, up = gate.clamp(max=ffn.limit), up.clamp(-ffn.limit, ffn.limit)
    return (up + 1) * gate * torch.sigmoid(ffn.steepness * gate)


class Dense(nn.Module):
    """An FFN of one hidden layer, after a norm if there is one."""

    def __init__(self, ffn: kinds.Dense, d_model: int, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.kind, self.norm = ffn, norm
        self.gate = nn.Linear(d_model, ffn.d_ff, ffn.bias) if isinstance(ffn, kinds.Gated) else None
        self.up = nn.Linear(d_model, ffn.d_ff, ffn.bias)
        self.down = nn.Linear(ffn.d_ff, d_model, ffn.bias)

    def written(self, x: Float[Tensor, "*token model"], site: str, see: Probe) -> Float[Tensor, "*token model"]:
        """The output for a normed input; `site` is the name of its neurons."""
        gate = None if self.gate is None else self.gate(x)
        output: Tensor = self.down(see(site, neurons_of(self.kind, self.up(x), gate)))
        return output
