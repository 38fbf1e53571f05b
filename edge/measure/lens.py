"""What the decoder would answer after each layer: the logit lens, and numbers about its answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from edge.readout import Readout
from edge.trace import Trace
from models.log_probabilities import kl_nats, log_softmax
from models.sites import layer_site

_BLOCK = 1 << 21
"""Logits that are held at once, so that long texts need little memory beside themselves."""


def top_tokens(
    logits: Float[np.ndarray, "token vocab"], k: int
) -> tuple[Int[np.ndarray, "token k"], Float32[np.ndarray, "token k"]]:
    """The `k` likeliest ids of each token and their probabilities, `softmax(logits)`, the likeliest first.

    Of equally likely ids the smaller comes first.
    """
    if not 1 <= k <= logits.shape[-1]:
        raise ValueError(f"cannot name the {k} likeliest of {logits.shape[-1]} ids")
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
    """How many ids are likelier than the given one of each token: `|{j: logit_j > logit_i}|`, 0 for the likeliest."""
    if len(ids) and not 0 <= ids.min() <= ids.max() < logits.shape[-1]:
        raise ValueError(f"ids reach from {ids.min()} to {ids.max()}, the logits name 0 to {logits.shape[-1] - 1}")
    return np.asarray((logits > np.take_along_axis(logits, ids[:, None], axis=-1)).sum(axis=-1))


def prediction_entropy_bits(logits: Float[np.ndarray, "token vocab"]) -> Float32[np.ndarray, " token"]:
    """How undecided each answer is: `-Σ_v p_v · log2 p_v` of `p = softmax(logits)`, 0 to `log2(vocab)` bits.

    `2 ** entropy` reads as a number of words between which the answer hesitates (Shannon 1948).
    """
    return _entropy_bits(log_softmax(logits))


def _entropy_bits(log: Float64[np.ndarray, "token vocab"]) -> Float32[np.ndarray, " token"]:
    bits = -(np.exp(log) * log).sum(axis=-1) / np.log(2)
    return np.asarray(np.maximum(bits, 0.0), np.float32)


def kl_to_final_bits(
    logits: Float[np.ndarray, "token vocab"], final: Float[np.ndarray, "token vocab"]
) -> Float32[np.ndarray, " token"]:
    """How far each answer is from the last layer's: `Σ_v p_v · log2(p_v / q_v)`, p the last layer's, q this one's.

    In bits, 0 where both are equal, without an upper bound (Kullback and Leibler 1951; what a tuned lens is trained to
    make small, Belrose et al. 2023, arXiv 2303.08112).
    """
    return _kl_bits(log_softmax(final), log_softmax(logits))


def _kl_bits(
    log_p: Float64[np.ndarray, "token vocab"], log_q: Float64[np.ndarray, "token vocab"]
) -> Float32[np.ndarray, " token"]:
    return np.asarray(kl_nats(log_p, log_q) / np.log(2), np.float32)


def convergence_layer(top1: Int[np.ndarray, "layer token"]) -> Int[np.ndarray, " token"]:
    """The first layer from which on the likeliest id is the last layer's: `min{l: top1_m = top1_L for all m ≥ l}`.

    For each token, 0 to the number of layers less one: the last layer agrees with itself. Low where the answer is
    settled early.
    """
    if not len(top1):
        raise ValueError("no layer answered, so none can be the first to agree with the last")
    agrees = (top1 == top1[-1])[::-1]
    return np.asarray(len(top1) - np.logical_and.accumulate(agrees, axis=0).sum(axis=0))


@dataclass(frozen=True, kw_only=True)
class Lens:
    """What the decoder would answer after each layer.

    Attributes:
        ids: The likeliest ids, the likeliest first.
        probabilities: Theirs, 0 to 1.
        rank: How many ids are likelier than the token's target.
        entropy_bits: How undecided the answer is.
        kl_to_final_bits: How far the answer is from the last layer's.
    """

    ids: Int[np.ndarray, "layer token k"]
    probabilities: Float32[np.ndarray, "layer token k"]
    rank: Int[np.ndarray, "layer token"]
    entropy_bits: Float32[np.ndarray, "layer token"]
    kl_to_final_bits: Float32[np.ndarray, "layer token"]

    @property
    def convergence_layer(self) -> Int[np.ndarray, " token"]:
        """The first layer from which on the likeliest id is the last layer's."""
        return convergence_layer(self.ids[:, :, 0])


def blocks(tokens: int, vocab_size: int) -> Iterator[slice]:
    """Rows whose logits are held at once."""
    rows = max(1, _BLOCK // vocab_size)
    for first in range(0, max(1, tokens), rows):
        yield slice(first, first + rows)


def _look(
    streams: Sequence[Float[np.ndarray, "token model"]], readout: Readout, targets: Int[np.ndarray, " token"], k: int
) -> Lens:
    """The lens on as many tokens as fit; of two layers' logits at a time."""
    final = log_softmax(readout.logits(streams[-1]))
    ids, probabilities, rank, entropy, kl = [], [], [], [], []
    for stream in streams:
        logits = readout.logits(stream)
        log = log_softmax(logits)
        likeliest, theirs = _top_tokens(logits, log, k)
        ids.append(likeliest)
        probabilities.append(theirs)
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
    """Reads the residual stream after each layer as if it were the last: `norm(x) · W_U`, bounded as logits are.

    The norm's statistics are each stream's own (nostalgebraist 2020, interpreting GPT: the logit lens). Early layers
    may write in other directions than the head reads, so their answers are biased (Belrose et al. 2023, arXiv
    2303.08112).

    Args:
        streams: The residual stream after each layer, the last one's at the end; the same tokens in each.
        targets: The id of each token whose rank is told.
    """
    if not streams:
        raise ValueError("no layer's residual stream to look at")
    if any(len(stream) != len(targets) for stream in streams):
        raise ValueError(f"{len(targets)} targets for streams of {[len(stream) for stream in streams]} tokens")
    looks = [
        _look([stream[rows] for stream in streams], readout, targets[rows], k)
        for rows in blocks(len(targets), len(readout.weight))
    ]
    joined = {field.name: np.concatenate([getattr(look, field.name) for look in looks], 1) for field in fields(Lens)}
    return Lens(**joined)


def lens_of_trace(
    trace: Trace, readout: Readout, tokens: slice, targets: Int[np.ndarray, " token"], k: int = 5
) -> Lens:
    """The logit lens on some tokens of a run that watched the `output` of every layer."""
    streams = [trace.site(layer_site(layer, "output"))[tokens] for layer in range(trace.spec.n_layers)]
    return logit_lens(streams, readout, targets, k)
