"""The neurons of a mixture of experts as one row per token, as if it were one wide FFN: numbers, places, sizes."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

from edge.ablated import Ablated
from models.sites import CHOSEN, NEURONS, ROUTER, SHARED_GATE, SHARED_NEURONS
from models.spec import FFN, DecoderSpec, MoE

Read = Callable[[str], Float32[np.ndarray, "token ..."]]
"""Reads a site of one layer, by its name within the layer."""


def all_neurons(kind: MoE, read: Read) -> Float32[np.ndarray, "token neuron"]:
    """The activations of all experts times the weight that the router gives each; 0 for experts not chosen.

    Their products with the output vectors of all experts sum to the output of the mixture, biases excepted. Neuron `j`
    of expert `e` is at `e * expert.d_ff + j`; those of the shared expert follow, times its gate.
    """
    neurons, given, chosen = read(NEURONS), read(ROUTER), read(CHOSEN).astype(np.int64)
    routed = np.zeros((len(neurons), kind.n_experts, kind.expert.d_ff), np.float32)
    weights = np.take_along_axis(given, chosen, axis=1)
    np.put_along_axis(routed, chosen[:, :, None], weights[:, :, None] * neurons, axis=1)
    by_token = routed.reshape(len(neurons), -1)
    if not kind.d_shared:
        return by_token
    shared = read(SHARED_NEURONS)
    return np.hstack([by_token, read(SHARED_GATE) * shared if kind.shared_gated else shared])


def expert_neurons(kind: MoE, expert: int) -> range:
    """The numbers of the neurons of one expert."""
    width = kind.expert.d_ff
    return range(expert * width, (expert + 1) * width)


def expert_of(kind: MoE, neuron: int) -> tuple[int | None, int]:
    """The expert that a neuron belongs to, None for the shared expert; and its number within the expert."""
    expert, within = divmod(neuron, kind.expert.d_ff)
    if expert < kind.n_experts:
        return expert, within
    return None, neuron - kind.n_experts * kind.expert.d_ff


def ablated_neurons(kind: FFN, off: Ablated, layer: int) -> tuple[int, ...]:
    """Neurons of a layer that are ablated individually or with their expert, in ascending order."""
    own, experts = off.neurons_of(layer), off.experts_of(layer)
    if not isinstance(kind, MoE) or not experts:
        return own
    return tuple(sorted({*own, *(neuron for expert in experts for neuron in expert_neurons(kind, expert))}))


def size_text(kind: FFN, write: Callable[[int], str] = str) -> str:
    """The number of neurons: `512`, or `8 experts of 160 neurons, 2 per token`."""
    if not isinstance(kind, MoE):
        return write(kind.d_ff)
    shared = f" and a shared expert of {write(kind.d_shared)}" if kind.d_shared else ""
    return f"{write(kind.n_experts)} experts of {write(kind.expert.d_ff)} neurons, {kind.top_k} per token{shared}"


def sizes_text(spec: DecoderSpec, between: str, write: Callable[[int], str] = str) -> str:
    """The numbers of neurons of a decoder's FFNs, each once, the smallest first; `; ` between mixtures."""
    kinds = sorted((layer.ffn for layer in spec.layers), key=lambda kind: kind.d_ff)
    between = "; " if any(isinstance(kind, MoE) for kind in kinds) else between
    return between.join(dict.fromkeys(size_text(kind, write) for kind in kinds))
