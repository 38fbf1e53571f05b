"""The next-token predictions at one token, layer by layer, and the surprisal of every token."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from edge.compare.estimate import token_losses_nats
from edge.insight.weights import InsightWeights
from edge.measure.lens import blocks, lens_of_trace
from edge.trace import Trace
from models.sites import layer_site


@dataclass(frozen=True)
class Prediction:
    """One possible next token.

    Attributes:
        probability: 0 to 1.
    """

    id: int
    piece: str
    probability: float


@dataclass(frozen=True)
class LensPredictions:
    """Logit-lens predictions at one token.

    Attributes:
        token: Position of the token.
        after_layer: The top-1 token after each layer, from the first layer.
        final: The top tokens after the last layer, in order of probability.
        final_from_layer: The first layer from which on the top-1 token is the last layer's.
    """

    token: int
    after_layer: tuple[Prediction, ...]
    final: tuple[Prediction, ...]
    final_from_layer: int


def read_predictions(trace: Trace, weights: InsightWeights, token: int, k: int = 8) -> LensPredictions:
    """The logit lens at one token (nostalgebraist 2020): final norm and unembedding applied to each layer's output.

    Raises:
        MisuseError: the residual stream was not recorded.
    """
    count = min(k, trace.spec.vocab_size)
    lens = lens_of_trace(trace, weights.readout, slice(token, token + 1), np.zeros(1, np.int64), count)

    def prediction(layer: int, place: int) -> Prediction:
        id = int(lens.ids[layer, 0, place])
        return Prediction(id, weights.piece(id), float(lens.probabilities[layer, 0, place]))

    last = trace.spec.n_layers - 1
    return LensPredictions(
        token=token,
        after_layer=tuple(prediction(layer, 0) for layer in range(trace.spec.n_layers)),
        final=tuple(prediction(last, place) for place in range(count)),
        final_from_layer=int(lens.convergence_layer[0]),
    )


def read_surprisal(trace: Trace, weights: InsightWeights) -> Float32[np.ndarray, " token"]:
    """The surprisal of each token in bits: `-log2 p(token | previous tokens)`; NaN for the first.

    Generated tokens use the engine's log-probabilities, prompt tokens the output of the last layer; NaN if that was
    not recorded.
    """
    bits = np.full(len(trace.tokens), np.nan, np.float32)
    bits[trace.prompt_length :] = -np.array(trace.logprobs) / np.log(2)
    site = layer_site(trace.spec.n_layers - 1, "output")
    if site not in trace.sites:
        return bits
    predicted = min(trace.prompt_length - 1, trace.n_fed)  # rows whose next token is the prompt's
    stream, targets = trace.sites[site][:predicted], np.array(trace.tokens[1 : predicted + 1])
    for rows in blocks(predicted, trace.spec.vocab_size):
        logits = weights.readout.logits(stream[rows].astype(np.float32))
        bits[1 : predicted + 1][rows] = token_losses_nats(logits, targets[rows]) / np.log(2)
    return bits
