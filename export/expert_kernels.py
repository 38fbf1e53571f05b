"""How graphs compute the experts of a decoder: fused for speed, or with their neurons visible."""

from collections.abc import Callable

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
from export.quantized import QuantizedStack
from models.kernels import OneByOne, Probe
from models.moe import Experts, Stack
from models.spec import Clamped, MoE, Plain, SoftmaxFirst, TopFirst

ExpertKernel = Callable[
    [OneByOne, Float[Tensor, "token model"], Float[Tensor, "token expert"], Int[Tensor, "token slot"], Probe],
    Float[Tensor, "token model"],
]
"""Computes the weighted sum of the outputs of the chosen experts."""


def visible_experts(experts: OneByOne, x: Tensor, given: Tensor, chosen: Tensor, see: Probe) -> Tensor:
    """Neurons and outputs apart, so that the neurons can be recorded and changed."""
    assert isinstance(experts, Experts)
    expert, first, last = expert_of(experts.kind), experts.first, experts.last
    active = neurons(x, chosen, matrices(first), first.bias, expert=expert)
    active = see(experts.neurons_site, active, chosen)
    return outputs(active, given, chosen, matrices(last), last.bias)


def fused_experts(experts: OneByOne, x: Tensor, given: Tensor, chosen: Tensor, see: Probe) -> Tensor:
    """One operator where ONNX Runtime has one that is as exact as the products of the other matrices."""
    assert isinstance(experts, Experts)
    kind, first, last = experts.kind, experts.first, experts.last
    expert, stacks, top_k = expert_of(kind), (matrices(first), matrices(last)), kind.top_k
    biases = (first.bias, last.bias)
    if isinstance(stacks[0], QuantizedExperts) and isinstance(stacks[1], QuantizedExperts):
        scheme, accuracy = stacks[0].scheme, stacks[0].accuracy
        is_exact = scheme.bits == 4 or accuracy == 4
        if is_exact and fuses_quantized(expert, scheme, x.shape[-1], kind.expert.d_ff):
            return quantized_fused(
                x, given, stacks[0], biases[0], stacks[1], biases[1], expert=expert, top_k=top_k, accuracy=accuracy
            )
    elif isinstance(stacks[0], Tensor) and isinstance(stacks[1], Tensor) and fuses(expert):
        router = kind.router
        sums_to_one = isinstance(router, TopFirst) or router == SoftmaxFirst(renormalized=True)
        return fused(
            x,
            given,
            stacks[0],
            biases[0],
            stacks[1],
            biases[1],
            expert=expert,
            top_k=top_k,
            sums_to_one=sums_to_one,
        )
    return visible_experts(experts, x, given, chosen, see)


def expert_of(kind: MoE) -> Expert:
    """What one expert computes, for the operators."""
    expert = kind.expert
    if isinstance(expert, Clamped):
        return Expert(expert.activation, gated=True, limit=expert.limit, slope=expert.steepness)
    return Expert(expert.activation, gated=not isinstance(expert, Plain))


def matrices(stack: Stack | QuantizedStack) -> Matrices:
    """The matrices of all experts as initializers of the graph."""
    return stack.matrices if isinstance(stack, QuantizedStack) else stack.weight
