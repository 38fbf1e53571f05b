"""The neurons of one FFN at one token: the strongest, the tokens they promote, and CETT sparsity."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from edge.insight.weights import InsightWeights
from edge.measure import neurons as measures
from edge.measure.neurons import PromotedTokens, dominant, vector_norms
from edge.measure.sparsity import CettSparsity, cett_sparsity
from edge.readout import OutputProjection
from edge.trace import Trace
from models.errors import MisuseError
from models.sites import FFN
from models.spec import NoNorm


@dataclass(frozen=True)
class Neuron:
    """One neuron of an FFN at one token.

    Attributes:
        coefficient: Its activation, the input of the down projection.
        norm: L2 norm of its contribution to the residual stream; None without the weights.
        promoted_tokens: Its top promoted tokens, strongest first; empty without the weights, or if it is 0.
    """

    neuron: int
    coefficient: float
    norm: float | None
    promoted_tokens: tuple[str, ...]


def read_neurons(
    trace: Trace,
    weights: InsightWeights,
    layer: int,
    token: int,
    k: int = 32,
    also: Collection[int] = (),
    promoted: int = 8,
    among: range | None = None,
) -> tuple[Neuron, ...]:
    """The `k` strongest neurons at one token, then the requested ones by number.

    With `among`, only neurons of these numbers, such as those of one expert.

    Ranked by `|s_i| · ‖v_i‖₂`. Promoted tokens are the extremes of `W_U · v_i`, the lowest for a negative coefficient
    (Geva et al. 2022, arXiv 2203.14680), with the final norm's gain folded in (`fold_ln` of TransformerLens), which the
    paper leaves out. If the layer norms the FFN's output, `v_i` is the vector after that norm, with its statistics at
    this token. A neuron at 0 is not among the strongest. `edge.insight.ablation` measures the agreement of promoted
    tokens with ablation.

    Raises:
        MisuseError: the FFN was not recorded, or the token not fed.
    """
    neurons, norms = _neurons_and_norms(trace, weights, layer, token)
    listed, projection = _with_requested(_strongest(neurons, norms, k, among), also), weights.projection(layer, "ffn")
    found = _promoted(weights, projection, listed, promoted)
    return tuple(
        Neuron(
            neuron=neuron,
            coefficient=float(neurons[neuron]),
            norm=float(abs(neurons[neuron]) * norms[neuron]),
            promoted_tokens=_pieces(weights, found, place, float(neurons[neuron])),
        )
        for place, neuron in enumerate(listed)
    )


def strongest_neurons(trace: Trace, weights: InsightWeights, layer: int, token: int, k: int) -> tuple[int, ...]:
    """The `k` strongest neurons at one token, strongest first, without neurons at 0.

    Raises:
        MisuseError: the FFN was not recorded, or the token not fed.
    """
    return tuple(_strongest(*_neurons_and_norms(trace, weights, layer, token), k))


def read_coefficients(
    trace: Trace, layer: int, token: int, k: int = 32, also: Collection[int] = (), among: range | None = None
) -> tuple[Neuron, ...]:
    """The `k` neurons with the largest `|s_i|`, which needs no weights; `among` as in `read_neurons`.

    Raises:
        MisuseError: the FFN was not recorded, or the token not fed.
    """
    neurons = neurons_at(trace, layer, token)
    listed = _with_requested(_strongest(neurons, np.ones_like(neurons), k, among), also)
    return tuple(Neuron(neuron, float(neurons[neuron]), None, ()) for neuron in listed)


def read_cett(trace: Trace, weights: InsightWeights, layer: int, target: float = 0.2) -> CettSparsity:
    """The share of an FFN's neurons that can be dropped with a mean error over the text of `target`.

    Ablated neurons are not counted. Measured on the output of the down projection, before any norm; see
    `edge.measure.sparsity.cett_sparsity`.

    Raises:
        MisuseError: the FFN was not recorded or is ablated, or nothing was fed.
    """
    if not trace.n_fed:
        raise MisuseError("CETT is a mean over tokens, and this run fed none")
    acting = trace.acting(layer)
    if not len(acting):
        raise MisuseError(f"the FFN of layer {layer} is ablated in this run")
    return cett_sparsity(trace.acting_neurons(layer), weights.projection(layer, "ffn").matrix.T[acting], target)


def neurons_at(trace: Trace, layer: int, token: int) -> Float32[np.ndarray, " neuron"]:
    """The inputs of the down projection at one token; all 0 if the FFN is ablated.

    Raises:
        MisuseError: the FFN was not recorded, or the token not fed.
    """
    (row,) = trace.neurons_at(layer, token)
    return np.zeros_like(row) if layer in trace.ablated.ffns else np.asarray(row)


def _neurons_and_norms(
    trace: Trace, weights: InsightWeights, layer: int, token: int
) -> tuple[Float32[np.ndarray, " neuron"], Float32[np.ndarray, " neuron"]]:
    """Coefficients at a token, and the L2 norms of the contributions for a coefficient of 1."""
    neurons, projection = neurons_at(trace, layer, token), weights.projection(layer, FFN).at(trace.given(layer, token))
    return neurons, vector_norms(projection.output_vectors()) / np.float32(_scale(projection, neurons))


def _strongest(
    neurons: Float32[np.ndarray, " neuron"],
    norms: Float32[np.ndarray, " neuron"],
    k: int,
    among: range | None = None,
) -> list[int]:
    among = among or range(len(neurons))
    part = slice(among.start, among.stop)
    index, coefficients = dominant(neurons[part], norms[part], min(k, len(among)))
    return [among.start + int(neuron) for neuron in index[coefficients != 0]]


def _with_requested(strongest: list[int], also: Collection[int]) -> list[int]:
    return [*strongest, *sorted(set(also) - set(strongest))]


def _scale(projection: OutputProjection, neurons: Float32[np.ndarray, " neuron"]) -> float:
    """The scale of the norm after the FFN at one token; 1 if there is none."""
    return (
        1.0
        if isinstance(projection.after.kind, NoNorm)
        else float(projection.after.scale(projection(neurons[None]))[0])
    )


def _promoted(weights: InsightWeights, projection: OutputProjection, neurons: list[int], count: int) -> PromotedTokens:
    readout = weights.readout
    vectors = readout.folded(projection.output_vectors(neurons), projection)
    return measures.promoted(vectors, readout.weight, min(count, len(readout.weight)))


def _pieces(weights: InsightWeights, found: PromotedTokens, place: int, coefficient: float) -> tuple[str, ...]:
    if not abs(coefficient) > 0:
        return ()
    ids = found.top[place] if coefficient > 0 else found.bottom[place]
    return tuple(weights.piece(int(id)) for id in ids)
