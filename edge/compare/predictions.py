"""How far one variant's predictions are from the reference's, position by position of a text, teacher-forced."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from edge.compare.estimate import Estimate, Losses, perplexity_difference, token_losses_nats
from export.logit_difference import divergence

NEAR_TIE_NATS = 0.1
"""The reference's likeliest token counts as nearly tied where the second is nine tenths as likely: e^-0.1."""

_ROWS = 64  # compared at a time: in float64, a row is eight bytes for each entry of the vocabulary

Logits = Float32[np.ndarray, "position vocab"]


@dataclass(frozen=True)
class Scores:
    """What each position says about a variant beside the reference.

    Attributes:
        logit_difference: Largest absolute difference of any logit.
        kl_nats: KL divergence of the next token's distribution from the reference's.
        loss_nats, reference_loss_nats: What the token that really follows costs either.
        margin_nats: By how much the reference's likeliest token leads over its second.
        agrees: The likeliest token is the reference's.
    """

    logit_difference: Float64[np.ndarray, " position"]
    kl_nats: Float64[np.ndarray, " position"]
    loss_nats: Float64[np.ndarray, " position"]
    reference_loss_nats: Float64[np.ndarray, " position"]
    margin_nats: Float64[np.ndarray, " position"]
    agrees: Bool[np.ndarray, " position"]


@dataclass(frozen=True, kw_only=True)
class PredictionDifference:
    """One variant beside the reference, over all positions of a text.

    Attributes:
        positions: Positions compared.
        max_logit_difference: Largest absolute difference of any logit.
        kl_mean_nats, kl_median_nats, kl_p99_nats, kl_max_nats: `Σ p · (ln p - ln q)` of each position's next token, p
            being the reference's distribution.
        top1_agreement: Share of positions whose likeliest token is the reference's.
        flips: Positions whose likeliest token is another one.
        near_tie_flips: Those of them where the reference's own lead is below `NEAR_TIE_NATS`.
        perplexity_difference: Perplexity less the reference's, paired.
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
    """By how much the largest logit of each row leads over the second: the difference of log-probabilities, too."""
    second, first = np.partition(logits, -2, axis=-1)[:, -2:].astype(np.float64).T
    lead: Float64[np.ndarray, " position"] = first - second
    return lead


def score(reference: Logits, logits: Logits, targets: Int[np.ndarray, " position"]) -> Scores:
    """Scores the positions of one window; `targets` are the tokens that really follow. What overflowed scores NaN."""
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
    """The scores of several windows as those of one text."""
    return Scores(*(np.concatenate([getattr(one, field.name) for one in scores]) for field in fields(Scores)))


def prediction_difference(scores: Scores) -> PredictionDifference:
    """Sums up the scores of a text."""
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
