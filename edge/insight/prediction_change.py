"""How the likeliest next tokens shift: from before an FFN to after it, and from one run to another."""

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
from models.sites import layer_site


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
    """Two answers about the same token.

    Attributes:
        words: The likeliest of either answer and those asked for, the likeliest after it first.
        bits: How far the answers are apart: `Σ after · log2(after / before)`, 0 where they are equal.
    """

    words: tuple[TokenChange, ...]
    bits: float


def read_ffn_change(
    trace: Trace, weights: InsightWeights, layer: int, token: int, k: int = 5, also: Collection[int] = ()
) -> DistributionChange:
    """What the decoder would answer at a token if it ended before, and after, the FFN of one layer (logit lens).

    Before is what leaves the layer less what its FFN adds, so in a parallel layer it has attention's part already.

    Raises:
        MisuseError: `output` or `ffn.output` were not watched, or the layer norms their sum.
    """
    if trace.spec.layers[layer].norms_sum:
        raise MisuseError(
            f"layer {layer} of {trace.model} norms the residual stream after its FFN has added to it, so what was "
            "there before cannot be told from what leaves it"
        )
    after = trace.row(layer_site(layer, "output"), token)
    before = after - trace.row(layer_site(layer, "ffn.output"), token)
    return _shift((before, after), (weights.readout, weights.readout), weights, k, also)


def read_run_change(
    before: Trace,
    before_weights: InsightWeights,
    after: Trace,
    after_weights: InsightWeights,
    token: int,
    k: int = 5,
    also: Collection[int] = (),
) -> DistributionChange:
    """What two runs over the same tokens answer at one of them: the same run with edits, or another engine's.

    Raises:
        MisuseError: what leaves the last layer was not watched, or the runs cannot be compared there.
    """
    if before.spec.vocab_size != after.spec.vocab_size:
        raise MisuseError("the two runs answer in vocabularies of different sizes, so their answers do not compare")
    if before.tokens[: token + 1] != after.tokens[: token + 1]:
        raise MisuseError("the two runs read different tokens up to here, so their answers do not compare")
    streams = tuple(trace.row(layer_site(trace.spec.n_layers - 1, "output"), token) for trace in (before, after))
    return _shift(streams, (before_weights.readout, after_weights.readout), before_weights, k, also)


def _shift(
    streams: Sequence[Float32[np.ndarray, "1 model"]],
    readouts: Sequence[Readout],
    weights: InsightWeights,
    k: int,
    also: Collection[int],
) -> DistributionChange:
    logits = [readout.logits(stream) for readout, stream in zip(readouts, streams, strict=True)]
    count = min(k, logits[0].shape[-1])
    likeliest = [top_tokens(each, count)[0][0].tolist() for each in logits]
    ids = dict.fromkeys([*likeliest[1], *likeliest[0], *also])
    probability = [np.exp(log_softmax(each)[0]) for each in logits]
    words = [TokenChange(id, weights.piece(id), float(probability[0][id]), float(probability[1][id])) for id in ids]
    words.sort(key=lambda word: -word.after)
    return DistributionChange(tuple(words), float(kl_to_final_bits(logits[0], logits[1])[0]))
