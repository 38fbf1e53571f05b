"""What one FFN recalled at one token: the memories that write most, the words they promote, and how few suffice."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from edge.insight.weights import InsightWeights
from edge.measure.neurons import PromotedTokens, dominant, promoted, vector_norms
from edge.measure.sparsity import CettSparsity, cett_sparsity
from edge.readout import OutputProjection
from edge.trace import Trace
from models.errors import MisuseError
from models.sites import layer_site
from models.spec import NoNorm


@dataclass(frozen=True)
class Neuron:
    """One neuron of an FFN at one token.

    Attributes:
        coefficient: What enters the down projection, in the activation's own unit.
        adds: The length of what it adds to the residual stream, in the stream's unit; None without the weights.
        promotes: The words that it raises most, the most first; none without the weights, or where it is 0.
    """

    neuron: int
    coefficient: float
    adds: float | None
    promotes: tuple[str, ...]


def read_neurons(
    trace: Trace,
    weights: InsightWeights,
    layer: int,
    token: int,
    k: int = 32,
    also: Collection[int] = (),
    words: int = 8,
) -> tuple[Neuron, ...]:
    """The `k` memories that write most at one token, strongest first, and after them those asked for by number.

    Ranked by `|s_i| · ‖v_i‖₂`; the words are the extremes of `W_U · v_i`, the lowest where the coefficient is
    negative (Geva et al. 2022, arXiv 2203.14680), with the final norm's gain folded in (`fold_ln` of TransformerLens),
    which the paper leaves out. Where the layer norms what its FFN adds, `v_i` is what that norm, its statistics at
    this token held, makes of it. A neuron at 0 is not among the strongest. `edge.insight.ablation` measures how far
    the words agree with what ablating a neuron does.

    Raises:
        MisuseError: the FFN was not watched, or the token not fed.
    """
    neurons, norms = _neurons_and_norms(trace, weights, layer, token)
    listed, projection = _with_asked(_strongest(neurons, norms, k), also), weights.projection(layer, "ffn")
    found = _promoted(weights, projection, listed, words)
    return tuple(
        Neuron(
            neuron=neuron,
            coefficient=float(neurons[neuron]),
            adds=float(abs(neurons[neuron]) * norms[neuron]),
            promotes=_words(weights, found, place, float(neurons[neuron])),
        )
        for place, neuron in enumerate(listed)
    )


def strongest_neurons(trace: Trace, weights: InsightWeights, layer: int, token: int, k: int) -> tuple[int, ...]:
    """The `k` neurons that write most at one token, the strongest first; those at 0 are none of them.

    Raises:
        MisuseError: the FFN was not watched, or the token not fed.
    """
    return tuple(_strongest(*_neurons_and_norms(trace, weights, layer, token), k))


def read_coefficients(
    trace: Trace, layer: int, token: int, k: int = 32, also: Collection[int] = ()
) -> tuple[Neuron, ...]:
    """The `k` neurons with the largest `|s_i|`: all that can be said without the weights.

    Raises:
        MisuseError: the FFN was not watched, or the token not fed.
    """
    neurons = neurons_at(trace, layer, token)
    listed = _with_asked(_strongest(neurons, np.ones_like(neurons), k), also)
    return tuple(Neuron(neuron, float(neurons[neuron]), None, ()) for neuron in listed)


def read_cett(trace: Trace, weights: InsightWeights, layer: int, target: float = 0.2) -> CettSparsity:
    """The share of an FFN's neurons that can go while the mean error over the text stays at `target`.

    Ablated neurons are not counted. Measured on what the down projection writes, before any norm of it; see
    `edge.measure.sparsity.cett_sparsity`.

    Raises:
        MisuseError: the FFN was not watched or is ablated, or nothing was fed.
    """
    if not trace.n_fed:
        raise MisuseError("CETT is a mean over tokens, and this run fed none")
    acting = trace.acting(layer)
    if not len(acting):
        raise MisuseError(f"the FFN of layer {layer} is ablated in this run")
    return cett_sparsity(trace.acting_neurons(layer), weights.projection(layer, "ffn").matrix.T[acting], target)


def neurons_at(trace: Trace, layer: int, token: int) -> Float32[np.ndarray, " neuron"]:
    """What enters the down projection at one token; all 0 where the FFN is ablated, since nothing of it is added.

    Raises:
        MisuseError: the FFN was not watched, or the token not fed.
    """
    (row,) = trace.row(layer_site(layer, "ffn.neurons"), token)
    return np.zeros_like(row) if layer in trace.ablated.ffns else np.asarray(row)


def _neurons_and_norms(
    trace: Trace, weights: InsightWeights, layer: int, token: int
) -> tuple[Float32[np.ndarray, " neuron"], Float32[np.ndarray, " neuron"]]:
    """Coefficients at a token, and the lengths of what a coefficient of 1 adds there."""
    neurons, projection = neurons_at(trace, layer, token), weights.projection(layer, "ffn")
    return neurons, vector_norms(projection.output_vectors()) / np.float32(_scale(projection, neurons))


def _strongest(neurons: Float32[np.ndarray, " neuron"], norms: Float32[np.ndarray, " neuron"], k: int) -> list[int]:
    index, coefficients = dominant(neurons, norms, min(k, len(neurons)))
    return [int(neuron) for neuron in index[coefficients != 0]]


def _with_asked(strongest: list[int], also: Collection[int]) -> list[int]:
    return [*strongest, *sorted(set(also) - set(strongest))]


def _scale(projection: OutputProjection, neurons: Float32[np.ndarray, " neuron"]) -> float:
    """What the norm after an FFN divides by at one token; 1 where there is none."""
    return (
        1.0
        if isinstance(projection.after.kind, NoNorm)
        else float(projection.after.scale(projection(neurons[None]))[0])
    )


def _promoted(weights: InsightWeights, projection: OutputProjection, neurons: list[int], words: int) -> PromotedTokens:
    readout = weights.readout
    vectors = readout.folded(projection.output_vectors(neurons), projection)
    return promoted(vectors, readout.weight, min(words, len(readout.weight)))


def _words(weights: InsightWeights, found: PromotedTokens, place: int, coefficient: float) -> tuple[str, ...]:
    if not abs(coefficient) > 0:
        return ()
    ids = found.top[place] if coefficient > 0 else found.bottom[place]
    return tuple(weights.piece(int(id)) for id in ids)
