"""How graphs compute the experts of a decoder: fused for speed, or with their neurons visible."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from export.experts import (
    Expert,
    Matrices,
    QuantizedExperts,
    fused,
    fuses,
    fuses_quantized,
    neurons,
    outputs,
    quantized_fused,
)
from export.operands import ROUNDS
from export.quantized import QuantizedStack
from models.kernels import OneByOne, Probe
from models.moe import Experts, Stack
from models.spec import Clamped, MoE, Plain, SoftmaxFirst, TopFirst

ExpertKernel = Callable[
    [OneByOne, Float[Tensor, "token model"], Float[Tensor, "token expert"], Int[Tensor, "token slot"], Probe],
    Float[Tensor, "token model"],
]
"""Computes the weighted sum of the outputs of the chosen experts."""


def portable_experts(experts: OneByOne, x: Tensor, given: Tensor, chosen: Tensor, see: Probe) -> Tensor:
    """Neurons and outputs apart, with activations as they are."""
    assert isinstance(experts, Experts)
    return _shown(experts, x, given, chosen, see, (exact(matrices(experts.first)), exact(matrices(experts.last))))


def visible_experts(experts: OneByOne, x: Tensor, given: Tensor, chosen: Tensor, see: Probe) -> Tensor:
    """Neurons and outputs apart, so that neurons can be recorded and changed; rounded where `fused_experts` rounds."""
    assert isinstance(experts, Experts)
    if not is_fused(experts):
        return portable_experts(experts, x, given, chosen, see)
    return _shown(experts, x, given, chosen, see, (matrices(experts.first), matrices(experts.last)))


def _shown(
    experts: Experts, x: Tensor, given: Tensor, chosen: Tensor, see: Probe, stacks: tuple[Matrices, Matrices]
) -> Tensor:
    active = neurons(x, chosen, stacks[0], experts.first.bias, expert=expert_of(experts.kind))
    active = see(experts.neurons_site, active, chosen)
    return outputs(active, given, chosen, stacks[1], experts.last.bias)


def is_fused(experts: Experts) -> bool:
    """Whether ONNX Runtime has one operator for them that is as exact as the products of the other matrices."""
    expert, first, last = expert_of(experts.kind), matrices(experts.first), matrices(experts.last)
    if isinstance(first, QuantizedExperts) and isinstance(last, QuantizedExperts):
        is_exact = first.scheme == last.scheme and (first.scheme.bits == 4 or first.accuracy == ROUNDS)
        return is_exact and fuses_quantized(expert, first.scheme, first.columns, last.columns)
    return isinstance(first, Tensor) and isinstance(last, Tensor) and fuses(expert)


def exact(stack: Matrices) -> Matrices:
    """The same matrices, for products that do not round activations."""
    return replace(stack, accuracy=0) if isinstance(stack, QuantizedExperts) else stack


def fused_experts(experts: OneByOne, x: Tensor, given: Tensor, chosen: Tensor, see: Probe) -> Tensor:
    """One operator where there is one; neurons are then not visible."""
    assert isinstance(experts, Experts)
    if not is_fused(experts):
        return portable_experts(experts, x, given, chosen, see)
    kind, first, last = experts.kind, matrices(experts.first), matrices(experts.last)
    stacks: Any = (first, experts.first.bias, last, experts.last.bias)
    how: dict[str, Any] = {"expert": expert_of(kind), "top_k": kind.top_k}
    if isinstance(first, QuantizedExperts):
        return quantized_fused(x, given, *stacks, **how, accuracy=first.accuracy)
    sums_to_one = isinstance(kind.router, TopFirst) or kind.router == SoftmaxFirst(renormalized=True)
    return fused(x, given, *stacks, **how, sums_to_one=sums_to_one)


def expert_of(kind: MoE) -> Expert:
    """What one expert computes, for the operators."""
    expert = kind.expert
    if isinstance(expert, Clamped):
        return Expert(expert.activation, gated=True, limit=expert.limit, slope=expert.steepness)
    return Expert(expert.activation, gated=not isinstance(expert, Plain))


def matrices(stack: Stack | QuantizedStack) -> Matrices:
    """The matrices of all experts as initializers of the graph."""
    return stack.matrices if isinstance(stack, QuantizedStack) else stack.weight
