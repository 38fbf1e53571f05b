"""The logit lens: next-token predictions after each layer, with rank, entropy, KL divergence and convergence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from edge.readout import Readout
from edge.trace import Trace
from models.log_probabilities import kl_nats, log_softmax
from models.sites import layer_site

_BLOCK = 1 << 21
"""Most logits in memory at a time."""


def top_tokens(
    logits: Float[np.ndarray, "token vocab"], k: int
) -> tuple[Int[np.ndarray, "token k"], Float32[np.ndarray, "token k"]]:
    """The top-k ids of each token and their probabilities, `softmax(logits)`, in descending order.

    Ties are ordered by id.
    """
    if not 1 <= k <= logits.shape[-1]:
        raise ValueError(f"cannot take the top {k} of {logits.shape[-1]} ids")
    return _top_tokens(logits, log_softmax(logits), k)


def _top_tokens(
    logits: Float[np.ndarray, "token vocab"], log: Float64[np.ndarray, "token vocab"], k: int
) -> tuple[Int[np.ndarray, "token k"], Float32[np.ndarray, "token k"]]:
    left, ids = logits.copy(), np.empty((len(logits), k), np.int64)
    for place in range(k):
        ids[:, place] = left.argmax(axis=-1)
        np.put_along_axis(left, ids[:, place, None], -np.inf, axis=-1)
    return ids, np.asarray(np.exp(np.take_along_axis(log, ids, axis=-1)), np.float32)


def rank_of(logits: Float[np.ndarray, "token vocab"], ids: Int[np.ndarray, " token"]) -> Int[np.ndarray, " token"]:
    """The rank of a given id at each token: `|{j: logit_j > logit_i}|`, 0 for the top-1 token."""
    if len(ids) and not 0 <= ids.min() <= ids.max() < logits.shape[-1]:
        raise ValueError(f"ids reach from {ids.min()} to {ids.max()}, the logits name 0 to {logits.shape[-1] - 1}")
    return np.asarray((logits > np.take_along_axis(logits, ids[:, None], axis=-1)).sum(axis=-1))


def prediction_entropy_bits(logits: Float[np.ndarray, "token vocab"]) -> Float32[np.ndarray, " token"]:
    """The entropy of each prediction: `-Σ_v p_v · log2 p_v` of `p = softmax(logits)`, 0 to `log2(vocab)` bits.

    `2 ** entropy` is an effective number of tokens (Shannon 1948).
    """
    return _entropy_bits(log_softmax(logits))


def _entropy_bits(log: Float64[np.ndarray, "token vocab"]) -> Float32[np.ndarray, " token"]:
    bits = -(np.exp(log) * log).sum(axis=-1) / np.log(2)
    return np.asarray(np.maximum(bits, 0.0), np.float32)


def kl_to_final_bits(
    logits: Float[np.ndarray, "token vocab"], final: Float[np.ndarray, "token vocab"]
) -> Float32[np.ndarray, " token"]:
    """KL divergence from the last layer's prediction: `Σ_v p_v · log2(p_v / q_v)`, p of the last layer, q of this one.

    In bits, 0 if both are equal, without an upper bound (Kullback and Leibler 1951). A tuned lens is trained to
    minimize it (Belrose et al. 2023, arXiv 2303.08112).
    """
    return _kl_bits(log_softmax(final), log_softmax(logits))


def _kl_bits(
    log_p: Float64[np.ndarray, "token vocab"], log_q: Float64[np.ndarray, "token vocab"]
) -> Float32[np.ndarray, " token"]:
    return np.asarray(kl_nats(log_p, log_q) / np.log(2), np.float32)


def convergence_layer(top1: Int[np.ndarray, "layer token"]) -> Int[np.ndarray, " token"]:
    """The first layer from which on the top-1 token is the last layer's: `min{l: top1_m = top1_L for all m ≥ l}`.

    For each token, 0 to the number of layers minus 1: the last layer agrees with itself. Low if the prediction is final
    in an early layer.
    """
    if not len(top1):
        raise ValueError("no layers, so none can be the first to agree with the last")
    agrees = (top1 == top1[-1])[::-1]
    return np.asarray(len(top1) - np.logical_and.accumulate(agrees, axis=0).sum(axis=0))


@dataclass(frozen=True, kw_only=True)
class Lens:
    """Predictions of the logit lens after each layer.

    Attributes:
        ids: The top-k ids, in order of probability.
        probabilities: Probabilities of these ids, 0 to 1.
        rank: Rank of the token's target, 0 for top-1.
        entropy_bits: Entropy of the prediction.
        kl_to_final_bits: KL divergence from the last layer's prediction.
    """

    ids: Int[np.ndarray, "layer token k"]
    probabilities: Float32[np.ndarray, "layer token k"]
    rank: Int[np.ndarray, "layer token"]
    entropy_bits: Float32[np.ndarray, "layer token"]
    kl_to_final_bits: Float32[np.ndarray, "layer token"]

    @property
    def convergence_layer(self) -> Int[np.ndarray, " token"]:
        """The first layer from which on the top-1 token is the last layer's."""
        return convergence_layer(self.ids[:, :, 0])


def blocks(tokens: int, vocab_size: int) -> Iterator[slice]:
    """Blocks of rows whose logits fit in memory."""
    rows = max(1, _BLOCK // vocab_size)
    for first in range(0, max(1, tokens), rows):
        yield slice(first, first + rows)


def _lens(
    streams: Sequence[Float[np.ndarray, "token model"]], readout: Readout, targets: Int[np.ndarray, " token"], k: int
) -> Lens:
    """The lens on one block of tokens; it holds the logits of two layers at a time."""
    final = log_softmax(readout.logits(streams[-1]))
    ids, probabilities, rank, entropy, kl = [], [], [], [], []
    for stream in streams:
        logits = readout.logits(stream)
        log = log_softmax(logits)
        top, probability = _top_tokens(logits, log, k)
        ids.append(top)
        probabilities.append(probability)
        rank.append(rank_of(logits, targets))
        entropy.append(_entropy_bits(log))
        kl.append(_kl_bits(final, log))
    return Lens(
        ids=np.stack(ids),
        probabilities=np.stack(probabilities),
        rank=np.stack(rank),
        entropy_bits=np.stack(entropy),
        kl_to_final_bits=np.stack(kl),
    )


def logit_lens(
    streams: Sequence[Float[np.ndarray, "token model"]],
    readout: Readout,
    targets: Int[np.ndarray, " token"],
    k: int = 5,
) -> Lens:
    """Applies the final norm and unembedding to the residual stream after each layer: `norm(x) · W_U`, with soft cap.

    The norm's statistics are each stream's own (nostalgebraist 2020, interpreting GPT: the logit lens). Early layers
    may use other directions than the unembedding reads, so their predictions are biased (Belrose et al. 2023, arXiv
    2303.08112).

    Args:
        streams: The residual stream after each layer, in order; the same tokens in each.
        targets: The id at each token whose rank is computed.
    """
    if not streams:
        raise ValueError("no residual streams")
    if any(len(stream) != len(targets) for stream in streams):
        raise ValueError(f"{len(targets)} targets for streams of {[len(stream) for stream in streams]} tokens")
    parts = [
        _lens([stream[rows] for stream in streams], readout, targets[rows], k)
        for rows in blocks(len(targets), len(readout.weight))
    ]
    joined = {field.name: np.concatenate([getattr(part, field.name) for part in parts], 1) for field in fields(Lens)}
    return Lens(**joined)


def lens_of_trace(
    trace: Trace, readout: Readout, tokens: slice, targets: Int[np.ndarray, " token"], k: int = 5
) -> Lens:
    """The logit lens on some tokens of a run that watched the `output` of every layer."""
    streams = [trace.site(layer_site(layer, "output"))[tokens] for layer in range(trace.spec.n_layers)]
    return logit_lens(streams, readout, targets, k)
