"""A mixture of experts as ONNX operators, for tracing a decoder: one fused operator, or two with the neurons between.

    fused             com.microsoft::MoE, which computes chosen experts only and shows no neurons
    quantized_fused   com.microsoft::QMoE, the same on quantized matrices
    neurons, outputs  edge::ExpertNeurons and edge::ExpertOutputs, for any expert; `export.expert_loops` expands them

A gated expert has one stack of first matrices, whose rows alternate: gate 0, up 0, gate 1, up 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, Int32, UInt8
from torch import Tensor
from torch.onnx import ops

from export.names import DOMAIN
from models.precision import Scheme, Zero
from models.spec import Activation

NEURONS, OUTPUTS = "ExpertNeurons", "ExpertOutputs"

ABOVE = 1.0
"""Clamped experts add this to `up`."""

_STEEP = 1e20
"""Factor in a sigmoid that makes it a step: `gate · sigmoid(gate · 1e20)` is `relu(gate)` but for tiny gates."""

_PLAIN = {Activation.RELU: "relu", Activation.GELU_TANH: "gelu", Activation.SILU: "silu"}
"""Names of activations in the fused operators. Their "gelu" is the tanh approximation."""


@dataclass(frozen=True)
class Expert:
    """What the neurons of one expert compute from `up · x` and, if there is one, `gate · x`.

    Attributes:
        limit: If set, gate and up are clamped: the gate from above, `up` on both sides. The neurons are then
            `(up + ABOVE) · gate · sigmoid(slope · gate)`, whatever the activation.
    """

    activation: Activation
    gated: bool
    limit: float | None = None
    slope: float = 1.702

    def __post_init__(self) -> None:
        if self.limit is not None and not self.gated:
            raise ValueError("an expert without a gate has no limit")


@dataclass(frozen=True)
class QuantizedExperts:
    """A stack of quantized matrices, in the parts that `export.operands` lists.

    Attributes:
        columns: Columns of a matrix before rows were padded to whole groups.
        accuracy: `accuracy_level` of products; with `export.operands.ROUNDS`, which needs whole groups, they round
            activations to 8 bits.
    """

    scheme: Scheme
    columns: int
    codes: UInt8[Tensor, "expert row bytes"]
    scales: Float[Tensor, "expert row group"]
    zeros: UInt8[Tensor, "expert row zero"] | None = None
    offsets: Float[Tensor, "expert group row"] | None = None
    order: Int32[Tensor, " column"] | None = None
    accuracy: int = 0


Matrices = Float[Tensor, "expert row column"] | QuantizedExperts
"""One matrix of each expert."""

Bias = Float[Tensor, "expert row"] | None


def fuses(expert: Expert) -> bool:
    """Whether the fused operators compute such experts, to the precision of their number format."""
    if expert.gated:
        return expert.limit is not None or expert.activation in (Activation.SILU, Activation.RELU)
    return expert.activation in _PLAIN


def fuses_quantized(expert: Expert, scheme: Scheme, width: int, n_neurons: int) -> bool:
    """Whether the quantized operator computes such experts: it requires whole groups, whole zeros and no order.

    With 8 bits, or a nonzero accuracy, it rounds activations to 8 bits.
    """
    whole_groups = width % scheme.group == 0 and n_neurons % scheme.group == 0
    return fuses(expert) and whole_groups and scheme.zero is not Zero.OFFSET and not scheme.ordered


def fused(
    x: Float[Tensor, "token model"],
    given: Float[Tensor, "token expert"],
    first: Float[Tensor, "expert row model"],
    first_bias: Bias,
    down: Float[Tensor, "expert model neuron"],
    down_bias: Bias,
    *,
    expert: Expert,
    top_k: int,
    sums_to_one: bool = False,
) -> Float[Tensor, "token model"]:
    """The sum of all experts' outputs, each times its weight.

    The operator applies softmax to the scores of the best `top_k` experts. Logarithms as scores give each weight
    divided by the sum of all weights, so the result is multiplied by that sum.

    Args:
        given: Weight of each expert, at least 0; 0 for all but `top_k` of them, never for all.
        sums_to_one: Whether the weights of a token are known to have the sum 1.
    """
    attributes = {"k": top_k, "normalize_routing_weights": 1} | _fused_activation(expert)
    weights = given.to(x.dtype)
    mixed = ops.symbolic(
        "com.microsoft::MoE",
        _without_end([x, weights.log(), first, first_bias, down, down_bias]),
        attributes,
        dtype=x.dtype,
        shape=x.shape,
        version=1,
    )
    return mixed if sums_to_one else mixed * weights.sum(dim=-1, keepdim=True)


def quantized_fused(
    x: Float[Tensor, "token model"],
    given: Float[Tensor, "token expert"],
    first: QuantizedExperts,
    first_bias: Bias,
    down: QuantizedExperts,
    down_bias: Bias,
    *,
    expert: Expert,
    top_k: int,
    accuracy: int = 0,
) -> Float[Tensor, "token model"]:
    """The same on quantized matrices. The weights choose experts too; those that are not positive are left out.

    Args:
        accuracy: 0 computes with float32 activations, if codes have 4 bits; 4 rounds activations to 8 bits. The
            attribute is always written: runtimes that do not know it are wrong for some group sizes, and refuse it.
    """
    inputs = [x, given, first.codes, first.scales, first_bias, down.codes, down.scales, down_bias]
    inputs += [None, None, None, first.zeros, down.zeros, None, given]
    sizes = {"expert_weight_bits": first.scheme.bits, "block_size": first.scheme.group, "accuracy_level": accuracy}
    return ops.symbolic(
        "com.microsoft::QMoE",
        inputs,
        {"k": top_k, "normalize_routing_weights": 0} | sizes | _fused_activation(expert),
        dtype=x.dtype,
        shape=x.shape,
        version=1,
    )


def neurons(
    x: Float[Tensor, "token model"],
    chosen: Int[Tensor, "token slot"],
    first: Matrices,
    first_bias: Bias,
    *,
    expert: Expert,
) -> Float[Tensor, "token slot neuron"]:
    """The neurons of each token's chosen experts, not weighted."""
    rows = _rows(first)
    attributes: dict[str, Any] = {"activation": str(expert.activation), "gated": int(expert.gated)}
    if expert.limit is not None:
        attributes |= {"limit": expert.limit, "slope": expert.slope}
    return ops.symbolic(
        f"{DOMAIN}::{NEURONS}",
        [x, chosen, *_stack(first, first_bias)],
        attributes | _sizes(first, chosen),
        dtype=x.dtype,
        shape=(*chosen.shape, rows // 2 if expert.gated else rows),
        version=1,
    )


def outputs(
    neurons: Float[Tensor, "token slot neuron"],
    given: Float[Tensor, "token expert"],
    chosen: Int[Tensor, "token slot"],
    down: Matrices,
    down_bias: Bias,
) -> Float[Tensor, "token model"]:
    """The sum of the chosen experts' outputs, each times its weight."""
    weights = torch.gather(given, 1, chosen).to(neurons.dtype)
    return ops.symbolic(
        f"{DOMAIN}::{OUTPUTS}",
        [neurons, chosen, *_stack(down, down_bias), weights],
        _sizes(down, chosen),
        dtype=neurons.dtype,
        shape=(neurons.shape[0], _rows(down)),
        version=1,
    )


def _fused_activation(expert: Expert) -> dict[str, Any]:
    """The attributes of a fused operator that say what a neuron computes."""
    if not fuses(expert):
        raise ValueError(f"the fused operator does not compute {expert}")
    if not expert.gated:
        return {"activation_type": _PLAIN[expert.activation]}
    gated: dict[str, Any] = {"activation_type": "swiglu", "swiglu_fusion": 1}
    if expert.limit is not None:
        return gated | {"activation_alpha": expert.slope, "activation_beta": ABOVE, "swiglu_limit": expert.limit}
    steepness = _STEEP if expert.activation is Activation.RELU else 1.0
    return gated | {"activation_alpha": steepness, "activation_beta": 0.0}


def _without_end(inputs: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The inputs of an operator without absent ones at the end."""
    last = max(at for at, one in enumerate(inputs) if one is not None)
    return list(inputs[: last + 1])


def _rows(stack: Matrices) -> int:
    return (stack.codes if isinstance(stack, QuantizedExperts) else stack).shape[1]


def _stack(stack: Matrices, bias: Bias) -> list[Tensor | None]:
    """The inputs of `edge` operators for a stack: numbers, or the parts of quantized ones; and the bias."""
    if isinstance(stack, QuantizedExperts):
        return [stack.codes, stack.scales, stack.zeros, stack.offsets, stack.order, bias]
    return [stack, None, None, None, None, bias]


def _sizes(stack: Matrices, chosen: Int[Tensor, "token slot"]) -> dict[str, Any]:
    """The attributes of `edge` operators: how large a stack is, and how it is quantized."""
    sizes: dict[str, Any] = {"slots": chosen.shape[1], "rows": _rows(stack)}
    if isinstance(stack, QuantizedExperts):
        scheme = stack.scheme
        sizes |= {
            "columns": stack.columns,
            "bits": scheme.bits,
            "block_size": scheme.group,
            "zero": str(scheme.zero),
            "accuracy": stack.accuracy,
        }
    return sizes
