"""Changes of the next-token distribution: by one FFN, and from one run to another."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from edge.insight.weights import InsightWeights
from edge.measure.lens import kl_to_final_bits, top_tokens
from edge.readout import Readout
from edge.trace import Trace
from models.errors import MisuseError
from models.log_probabilities import log_softmax
from models.sites import FFN_OUTPUT, layer_site


@dataclass(frozen=True)
class TokenChange:
    """One possible next token, before and after.

    Attributes:
        before: Its probability, 0 to 1.
        after: Its probability, 0 to 1.
    """

    id: int
    piece: str
    before: float
    after: float


@dataclass(frozen=True)
class DistributionChange:
    """Two next-token distributions at the same token.

    Attributes:
        tokens: The top tokens of both and the requested ones, in order of probability after.
        bits: KL divergence `Σ after · log2(after / before)`; 0 if they are equal.
    """

    tokens: tuple[TokenChange, ...]
    bits: float


def read_ffn_change(
    trace: Trace, weights: InsightWeights, layer: int, token: int, k: int = 5, also: Collection[int] = ()
) -> DistributionChange:
    """The logit-lens distributions before and after the FFN of one layer.

    'Before' is the layer's output minus the FFN's output; in a parallel layer it includes attention.

    Raises:
        MisuseError: outputs of the layer or its FFN were not recorded, or the layer norms their sum.
    """
    if trace.spec.layers[layer].norms_sum:
        raise MisuseError(
            f"layer {layer} of {trace.model} norms the residual stream after its FFN, so the stream before the FFN "
            "cannot be computed from the layer's output"
        )
    after = trace.row(layer_site(layer, "output"), token)
    before = after - trace.row(layer_site(layer, FFN_OUTPUT), token)
    return _change((before, after), (weights.readout, weights.readout), weights, k, also)


def read_run_change(
    before: Trace,
    before_weights: InsightWeights,
    after: Trace,
    after_weights: InsightWeights,
    token: int,
    k: int = 5,
    also: Collection[int] = (),
) -> DistributionChange:
    """The next-token distributions of two runs at the same token: with edits, or on another engine.

    Raises:
        MisuseError: the last layer's output was not recorded, or the runs cannot be compared.
    """
    if before.spec.vocab_size != after.spec.vocab_size:
        raise MisuseError("the two runs have vocabularies of different sizes, so their predictions cannot be compared")
    if before.tokens[: token + 1] != after.tokens[: token + 1]:
        raise MisuseError("the two runs read different tokens up to this one, so their predictions cannot be compared")
    streams = tuple(trace.row(layer_site(trace.spec.n_layers - 1, "output"), token) for trace in (before, after))
    return _change(streams, (before_weights.readout, after_weights.readout), before_weights, k, also)


def _change(
    streams: Sequence[Float32[np.ndarray, "1 model"]],
    readouts: Sequence[Readout],
    weights: InsightWeights,
    k: int,
    also: Collection[int],
) -> DistributionChange:
    logits = [readout.logits(stream) for readout, stream in zip(readouts, streams, strict=True)]
    count = min(k, logits[0].shape[-1])
    top = [top_tokens(each, count)[0][0].tolist() for each in logits]
    ids = dict.fromkeys([*top[1], *top[0], *also])
    probability = [np.exp(log_softmax(each)[0]) for each in logits]
    tokens = [TokenChange(id, weights.piece(id), float(probability[0][id]), float(probability[1][id])) for id in ids]
    tokens.sort(key=lambda token: -token.after)
    return DistributionChange(tuple(tokens), float(kl_to_final_bits(logits[0], logits[1])[0]))
