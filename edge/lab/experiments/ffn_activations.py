"""The input and the neurons of each FFN over the passage, without the first token of each window."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float32

from edge.lab.context import WINDOW_TOKENS, LabContext
from edge.readout import norm_weights
from models.sites import ATTENTION_OUTPUT, FFN, layer_site
from models.spec import MoE, Parallel

ACTIVE = 0.1
"""A neuron is active if its magnitude exceeds this many times its layer's root mean square over the passage.

ReLU has exact zeros, but other activation functions do not, and one threshold makes models comparable. CATS and TEAL
set the threshold at a quantile, which would give the same share of active neurons in every model.
"""


def after_first(lab: LabContext) -> Bool[np.ndarray, " token"]:
    """Which rows of the passage are not the first of their window.

    A first token attends only to itself. In many models its activations are a thousand times larger and would dominate
    the variance (Sun et al. 2024, Massive Activations, arXiv 2402.17762), so FFN experiments leave it out.
    """
    return np.concatenate([np.arange(len(ids)) > 0 for ids in lab.window_ids])


def passage_tokens_for(lab: LabContext, rows: int) -> int:
    """Tokens that a passage needs for this many rows: each window loses its first token, and the passage its last."""
    window = min(WINDOW_TOKENS, lab.spec.context)
    return rows + -(-rows // max(1, window - 1)) + 1


def site_after_first(lab: LabContext, layer: int, part: str) -> Float32[np.ndarray, "token ..."]:
    """A site over the passage without the first token of each window."""
    return np.asarray(lab.site(layer, part)[after_first(lab)], np.float32)


def neurons_after_first(lab: LabContext, layer: int) -> Iterator[Float32[np.ndarray, "token neuron"]]:
    """The neurons of one layer, window by window, without the first token of each."""
    for trace in lab.traces:
        yield trace.neurons(layer)[1:]


def neurons_rms(lab: LabContext, layer: int) -> float:
    """The root mean square of a layer's neurons over the passage; 1 if all are 0."""
    squares = [np.square(rows, dtype=np.float64) for rows in neurons_after_first(lab, layer)]
    rms = np.sqrt(sum(part.sum() for part in squares) / max(1, sum(part.size for part in squares)))
    return float(rms) or 1.0


def ffn_input(lab: LabContext, layer: int) -> Float32[np.ndarray, "token model"]:
    """The input of a layer's FFN after its norm, over the passage without the first token of each window.

    It is not a site. It is the norm of `input + attn.output` for a sequential residual, and of `input` for a parallel
    one.
    """
    kind, d_model, weights = lab.spec.layers[layer], lab.spec.d_model, lab.model.checkpoint.weights
    x = site_after_first(lab, layer, "input")
    if not isinstance(kind.residual, Parallel):
        x = x + site_after_first(lab, layer, ATTENTION_OUTPUT)
    if kind.norms_sum:
        x = norm_weights(weights, layer_site(layer, "attn_sum"), kind.norm, d_model)(x)
    return norm_weights(weights, layer_site(layer, "ffn.norm"), kind.norm, d_model)(x) if kind.norms_before else x


def up_projection(lab: LabContext, layer: int) -> Float32[np.ndarray, "token neuron"]:
    """The output of the FFN's up projection for the same tokens: as wide as the neurons, and linear in its input."""
    matrix, bias = up_weights(lab, layer)
    return np.asarray(ffn_input(lab, layer) @ matrix.T + bias)


def up_weights(
    lab: LabContext, layer: int
) -> tuple[Float32[np.ndarray, "neuron model"], Float32[np.ndarray, " neuron"]]:
    """The up projection and its bias, 0 if it has none; of all experts in a mixture, the shared one last."""
    kind, scope = lab.spec.layers[layer].ffn, layer_site(layer, FFN)
    if not isinstance(kind, MoE):
        return _up_rows(lab, f"{scope}.up", every=1)
    found = [_up_rows(lab, f"{scope}.experts.{kind.first}", every=1 if kind.first == "up" else 2)]
    if kind.d_shared:
        found.append(_up_rows(lab, f"{scope}.shared.up", every=1))
    matrices, biases = zip(*found, strict=True)
    return np.concatenate(matrices), np.concatenate(biases)


def _up_rows(
    lab: LabContext, stem: str, every: int
) -> tuple[Float32[np.ndarray, "neuron model"], Float32[np.ndarray, " neuron"]]:
    """A matrix or stack, and its bias; with `every` 2, the ups that follow gates."""
    weights = lab.model.checkpoint.weights
    stored = np.asarray(weights[f"{stem}.weight"], np.float32)
    matrix = stored[..., every - 1 :: every, :].reshape(-1, stored.shape[-1])
    name = f"{stem}.bias"
    bias = np.asarray(weights[name])[..., every - 1 :: every].ravel() if name in weights else np.zeros(len(matrix))
    return matrix, np.asarray(bias, np.float32)
