"""Differences between a variant's next-token predictions and the reference's, at each position of a text."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from edge.compare.estimate import Estimate, Losses, perplexity_difference, token_losses_nats
from export.logit_difference import divergence

NEAR_TIE_NATS = 0.1
"""A position is a near tie if the second token has over 90% of the top-1 token's probability: e^-0.1."""

_ROWS = 64  # rows compared at a time: in float64, a row takes eight bytes per entry of the vocabulary

Logits = Float32[np.ndarray, "position vocab"]


@dataclass(frozen=True)
class Scores:
    """Differences at each position.

    Attributes:
        logit_difference: Largest absolute difference of any logit.
        kl_nats: KL divergence of the next-token distribution from the reference's.
        loss_nats, reference_loss_nats: Cross-entropy loss of the next token of the text, of both.
        margin_nats: The reference's margin between its two most probable tokens.
        agrees: Whether the top-1 tokens are equal.
    """

    logit_difference: Float64[np.ndarray, " position"]
    kl_nats: Float64[np.ndarray, " position"]
    loss_nats: Float64[np.ndarray, " position"]
    reference_loss_nats: Float64[np.ndarray, " position"]
    margin_nats: Float64[np.ndarray, " position"]
    agrees: Bool[np.ndarray, " position"]


@dataclass(frozen=True, kw_only=True)
class PredictionDifference:
    """Differences over all positions of a text.

    Attributes:
        positions: Positions compared.
        max_logit_difference: Largest absolute difference of any logit.
        kl_mean_nats, kl_median_nats, kl_p99_nats, kl_max_nats: `Σ p · (ln p - ln q)` over the next token at
            each position, p being the reference's distribution.
        top1_agreement: Share of positions with the reference's top-1 token.
        flips: Positions with another top-1 token.
        near_tie_flips: Flips where the reference's margin is below `NEAR_TIE_NATS`.
        perplexity_difference: Perplexity minus the reference's, paired by position.
    """

    positions: int
    max_logit_difference: float
    kl_mean_nats: float
    kl_median_nats: float
    kl_p99_nats: float
    kl_max_nats: float
    top1_agreement: float
    flips: int
    near_tie_flips: int
    perplexity_difference: Estimate


def margins_nats(logits: Logits) -> Float64[np.ndarray, " position"]:
    """Largest minus second-largest logit of each row, which is also the difference of log-probabilities."""
    second, first = np.partition(logits, -2, axis=-1)[:, -2:].astype(np.float64).T
    lead: Float64[np.ndarray, " position"] = first - second
    return lead


def score(reference: Logits, logits: Logits, targets: Int[np.ndarray, " position"]) -> Scores:
    """Scores the positions of one window; `targets` are the next tokens. Overflowed values score NaN."""
    pieces = [slice(start, start + _ROWS) for start in range(0, len(targets), _ROWS)]
    with np.errstate(invalid="ignore", over="ignore"):
        return joined([_score(np.asarray(reference[at]), np.asarray(logits[at]), targets[at]) for at in pieces])


def _score(reference: Logits, logits: Logits, targets: Int[np.ndarray, " position"]) -> Scores:
    return Scores(
        logit_difference=np.abs(logits.astype(np.float64) - reference).max(axis=-1),
        kl_nats=divergence(reference, logits),
        loss_nats=token_losses_nats(logits, targets),
        reference_loss_nats=token_losses_nats(reference, targets),
        margin_nats=margins_nats(reference),
        agrees=logits.argmax(axis=-1) == reference.argmax(axis=-1),
    )


def joined(scores: Sequence[Scores]) -> Scores:
    """Concatenates the scores of several windows."""
    return Scores(*(np.concatenate([getattr(one, field.name) for one in scores]) for field in fields(Scores)))


def prediction_difference(scores: Scores) -> PredictionDifference:
    """Summarizes the scores of a text."""
    kl, flipped = scores.kl_nats, ~scores.agrees
    costs: tuple[Losses, Losses] = (scores.loss_nats, scores.reference_loss_nats)
    return PredictionDifference(
        positions=len(kl),
        max_logit_difference=float(scores.logit_difference.max()),
        kl_mean_nats=float(kl.mean()),
        kl_median_nats=float(np.median(kl)),
        kl_p99_nats=float(np.quantile(kl, 0.99)),
        kl_max_nats=float(kl.max()),
        top1_agreement=float(scores.agrees.mean()),
        flips=int(flipped.sum()),
        near_tie_flips=int((flipped & (scores.margin_nats < NEAR_TIE_NATS)).sum()),
        perplexity_difference=perplexity_difference(*costs),
    )
