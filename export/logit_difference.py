"""How far two ways to run a model are apart, token by token, and what that costs on a text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from models.log_probabilities import kl_nats, log_softmax, target_log_probabilities

Ids = Int64[np.ndarray, "_"]
Logits = Float32[np.ndarray, "_ vocab"]

QUANTIZATION = "quantization"
"""Of the comparisons of an export, that of quantized weights with the original ones."""


@dataclass(frozen=True)
class LogitDifference:
    """How far some logits are from a reference's, teacher-forced.

    Attributes:
        max_logit_difference: Largest absolute difference of any logit.
        mean_kl_nats, p99_kl_nats: KL divergence of the next token's distribution from torch's, over positions.
        top1_agreement: Share of positions whose most likely token is the same.
        positions: Positions compared.
        perplexity, reference_perplexity: `exp(mean -ln p(next token of the text))` of either; None where the positions
            are not those of a text, or only some rows of it were computed.
    """

    max_logit_difference: float
    mean_kl_nats: float
    p99_kl_nats: float
    top1_agreement: float
    positions: int
    perplexity: float | None = None
    reference_perplexity: float | None = None


def divergence(true: Logits, other: Logits) -> Float64[np.ndarray, " row"]:
    """`KL(true ‖ other) = Σ p · (ln p - ln q)` of each row's distributions, in nats; 0 where they are equal."""
    return kl_nats(log_softmax(true), log_softmax(other))


def compare_logits(
    found: Sequence[Logits], wanted: Sequence[Logits], targets: Sequence[Ids] | None = None
) -> LogitDifference:
    """Logits of the same positions: `found` may hold the last rows of `wanted` alone.

    Args:
        targets: For each of `wanted`, the tokens that follow in the text.
    """
    pairs = [(ours, theirs[-len(ours) :]) for ours, theirs in zip(found, wanted, strict=True)]
    same = [ours.argmax(-1) == theirs.argmax(-1) for ours, theirs in pairs]
    lost = np.concatenate([divergence(theirs, ours) for ours, theirs in pairs])
    whole = targets is not None and all(len(ours) == len(theirs) for ours, theirs in zip(found, wanted, strict=True))
    return LogitDifference(
        max_logit_difference=float(max(np.abs(ours - theirs).max() for ours, theirs in pairs)),
        mean_kl_nats=float(lost.mean()),
        p99_kl_nats=float(np.quantile(lost, 0.99)),
        top1_agreement=float(np.mean(np.concatenate(same))),
        positions=sum(len(ours) for ours, _ in pairs),
        perplexity=_perplexity(found, targets) if whole and targets else None,
        reference_perplexity=_perplexity(wanted, targets) if whole and targets else None,
    )


def _perplexity(logits: Sequence[Logits], targets: Sequence[Ids]) -> float:
    rows = zip(logits, targets, strict=True)
    costs = [-target_log_probabilities(one, ids) for one, ids in rows]
    return float(np.exp(np.concatenate(costs).mean()))
