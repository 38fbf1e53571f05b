"""What a text costs a model, with what chance alone does to the number."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int

from models.log_probabilities import target_log_probabilities

Losses = Float64[np.ndarray, " position"]


@dataclass(frozen=True)
class Estimate:
    """A number found on a sample, and its standard error."""

    value: float
    error: float


def token_losses_nats(
    logits: Float32[np.ndarray, "position vocab"], targets: Int[np.ndarray, " position"]
) -> Float64[np.ndarray, " position"]:
    """What each target costs, in nats: `-ln p(target)`, the logits being widened to float64."""
    return -target_log_probabilities(logits, targets)


def perplexity(costs: Losses) -> Estimate:
    """`exp(mean cost)`, and by the delta method `perplexity · sd(costs) / √n` as its standard error.

    1 is a text known by heart; the vocabulary's size is pure guessing. Losses count as independent, as llama.cpp
    counts them, though neighbors in a text are not quite.
    """
    value = float(np.exp(costs.mean()))
    return Estimate(value, value * _error(costs))


def perplexity_difference(costs: Losses, reference: Losses) -> Estimate:
    """Perplexity less the reference's, paired: both are of the same positions, so what a position costs cancels out.

    The delta method for a difference of two: `sd(P · costs - P_ref · reference) / √n`, far below the standard error
    of either perplexity where the two models agree.
    """
    own, other = perplexity(costs).value, perplexity(reference).value
    return Estimate(own - other, _error(own * costs - other * reference))


def _error(sample: Losses) -> float:
    """Standard error of the mean, `sd / √n`; NaN of a single one."""
    return float(sample.std(ddof=1) / np.sqrt(len(sample))) if len(sample) > 1 else float("nan")
