"""Cross-entropy loss and perplexity of a text, with standard errors."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int

from models.log_probabilities import target_log_probabilities

Losses = Float64[np.ndarray, " position"]


@dataclass(frozen=True)
class Estimate:
    """A sample estimate and its standard error."""

    value: float
    error: float


def token_losses_nats(
    logits: Float32[np.ndarray, "position vocab"], targets: Int[np.ndarray, " position"]
) -> Float64[np.ndarray, " position"]:
    """Cross-entropy loss of each target, in nats: `-ln p(target)`, computed in float64."""
    return -target_log_probabilities(logits, targets)


def perplexity(losses: Losses) -> Estimate:
    """`exp(mean loss)`, and its standard error by the delta method: `perplexity · sd(losses) / √n`.

    1 is a memorized text; the vocabulary size is a uniform prediction. Losses count as independent, as in llama.cpp,
    although losses of neighboring positions are correlated.
    """
    value = float(np.exp(losses.mean()))
    return Estimate(value, value * _error(losses))


def perplexity_difference(losses: Losses, reference: Losses) -> Estimate:
    """Perplexity minus the reference's, paired by position, so that the difficulty of positions cancels out.

    Standard error by the delta method: `sd(P · losses - P_ref · reference) / √n`. It is far below the standard error
    of either perplexity if the models agree.
    """
    own, other = perplexity(losses).value, perplexity(reference).value
    return Estimate(own - other, _error(own * losses - other * reference))


def _error(sample: Losses) -> float:
    """Standard error of the mean, `sd / √n`; NaN for a single value."""
    return float(sample.std(ddof=1) / np.sqrt(len(sample))) if len(sample) > 1 else float("nan")
