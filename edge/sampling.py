"""How the next token is chosen from the logits."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from models.errors import EdgeError, MisuseError

_SAFE = 60.0
"""Up to this size float32 holds the exponentials of logits, and their sum over any vocabulary."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Temperature first, then top-k, then top-p, then one draw. Temperature 0 takes the likeliest.

    Attributes:
        temperature: Divides the logits; 0 is greedy.
        top_k: Only the k likeliest tokens can be drawn.
        top_p: Only the likeliest tokens that together hold this probability can be drawn
            (Holtzman et al. 2020, nucleus sampling).
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < float("inf"):
            raise MisuseError(f"temperature is {self.temperature}; it must be 0 (greedy) or above")
        if self.top_k is not None and self.top_k < 1:
            raise MisuseError(f"top_k is {self.top_k}; at least 1 token must be allowed")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise MisuseError(f"top_p is {self.top_p}; it must be above 0 and at most 1")

    @classmethod
    def greedy(cls) -> "Sampling":
        """Always the likeliest token; the lower id where two are equal."""
        return cls(temperature=0.0)

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return self.temperature == 0.0

    def draw(self, logits: Float32[np.ndarray, " vocab"], random: np.random.Generator) -> int:
        """The next token."""
        if self.is_greedy:
            return int(logits.argmax())
        return int(random.choice(len(logits), p=self.probabilities(logits)))

    def probabilities(self, logits: Float32[np.ndarray, " vocab"]) -> Float64[np.ndarray, " vocab"]:
        """What each token's chance is once temperature, top-k and top-p are applied; sums to 1.

        Raises:
            EdgeError: logits are not finite.
        """
        scaled = logits.astype(np.float64)
        if not np.isfinite(scaled).all():
            raise EdgeError("logits are not all finite numbers, so no token can be drawn from them")
        with np.errstate(over="ignore"):  # at the lowest temperatures all but the likeliest are at minus infinity
            scaled = (scaled - scaled.max()) / max(self.temperature, np.finfo(np.float64).tiny)
        order = np.argsort(-scaled, kind="stable")
        chance = np.exp(scaled[order])
        if self.top_k is not None:
            chance[self.top_k :] = 0.0
        chance /= chance.sum()
        if self.top_p is not None:
            before = np.cumsum(chance) - chance
            chance[before >= self.top_p] = 0.0
        kept: Float64[np.ndarray, " vocab"] = np.zeros_like(chance)
        kept[order] = chance / chance.sum()
        return kept


class LogProbabilities:
    """Log-probabilities that the model itself gives, before any sampling; in memory made once."""

    def __init__(self, vocab_size: int) -> None:
        self._powers = np.empty(vocab_size, np.float32)

    def of(self, token: int, logits: Float32[np.ndarray, " vocab"], likeliest: int | None = None) -> float:
        """Natural logarithm of the probability of `token`.

        Args:
            likeliest: The token with the largest logit, where it is known.
        """
        # In float32, as exact as the logits since numpy sums by halves. One look through a vocabulary takes as long as
        # its exponentials, so logits that are safe as they are get no shift.
        top = logits.max() if likeliest is None else logits[likeliest]
        shift = np.float32(0) if abs(top) < _SAFE else top
        np.exp(logits - shift if shift else logits, out=self._powers)
        return float(logits[token] - shift) - math.log(np.add.reduce(self._powers))
