"""The neurons of a mixture of experts as one row per token, as if it were one wide FFN."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

from models.sites import CHOSEN, NEURONS, ROUTER, SHARED_GATE, SHARED_NEURONS
from models.spec import MoE

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
