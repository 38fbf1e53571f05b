"""Compares the logits of two runs of a model: KL divergence, top-1 agreement, perplexity."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from models.log_probabilities import kl_nats, log_softmax, target_log_probabilities

Ids = Int64[np.ndarray, "_"]
Logits = Float32[np.ndarray, "_ vocab"]

QUANTIZATION = "quantization"
"""Name of the comparison of quantized weights with the original ones."""


@dataclass(frozen=True)
class LogitDifference:
    """Difference between some logits and those of a reference, teacher-forced.

    Attributes:
        max_logit_difference: Largest absolute difference of any logit.
        mean_kl_nats, p99_kl_nats: KL divergence of the next token's distribution from torch's, over positions.
        top1_agreement: Share of positions with the same top-1 token.
        positions: Number of compared positions.
        perplexity, reference_perplexity: `exp(mean -ln p(next token of the text))` of each; None without a text, or if
            only some rows of it were computed.
    """

    max_logit_difference: float
    mean_kl_nats: float
    p99_kl_nats: float
    top1_agreement: float
    positions: int
    perplexity: float | None = None
    reference_perplexity: float | None = None


def divergence(true: Logits, other: Logits) -> Float64[np.ndarray, " row"]:
    """`KL(true ‖ other) = Σ p · (ln p - ln q)` of each row's distributions, in nats; 0 for equal ones."""
    return kl_nats(log_softmax(true), log_softmax(other))


def compare_logits(
    logits: Sequence[Logits], reference: Sequence[Logits], targets: Sequence[Ids] | None = None
) -> LogitDifference:
    """Compares logits of the same positions. `logits` may have only the last rows of `reference`.

    Args:
        targets: For each array of `reference`, the next token of the text at each row.
    """
    pairs = [(ours, theirs[-len(ours) :]) for ours, theirs in zip(logits, reference, strict=True)]
    same = [ours.argmax(-1) == theirs.argmax(-1) for ours, theirs in pairs]
    divergences = np.concatenate([divergence(theirs, ours) for ours, theirs in pairs])
    lengths = zip(logits, reference, strict=True)
    is_whole = targets is not None and all(len(ours) == len(theirs) for ours, theirs in lengths)
    return LogitDifference(
        max_logit_difference=float(max(np.abs(ours - theirs).max() for ours, theirs in pairs)),
        mean_kl_nats=float(divergences.mean()),
        p99_kl_nats=float(np.quantile(divergences, 0.99)),
        top1_agreement=float(np.mean(np.concatenate(same))),
        positions=sum(len(ours) for ours, _ in pairs),
        perplexity=_perplexity(logits, targets) if is_whole and targets else None,
        reference_perplexity=_perplexity(reference, targets) if is_whole and targets else None,
    )


def _perplexity(logits: Sequence[Logits], targets: Sequence[Ids]) -> float:
    rows = zip(logits, targets, strict=True)
    costs = [-target_log_probabilities(one, ids) for one, ids in rows]
    return float(np.exp(np.concatenate(costs).mean()))
