"""Sampling of the next token from logits: greedy, temperature, top-k, top-p, min-p, repetition penalty."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

from models.errors import EdgeError, MisuseError

_SAFE = 60.0
"""Logits up to this size need no shift: their exponentials, and the sum over a vocabulary, fit in float32."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Applies the repetition penalty, temperature, top-k, top-p and min-p in this order, as transformers does.

    Temperature 0 is greedy decoding.

    Attributes:
        temperature: Divides the logits; 0 is greedy.
        top_k: Samples from the k most probable tokens.
        top_p: Samples from the smallest set of most probable tokens whose probabilities sum to this or more (nucleus
            sampling, Holtzman et al. 2020).
        min_p: Samples from tokens that are at least this many times as probable as the most probable one (Nguyen et
            al. 2024).
        repetition_penalty: Divides the logits of tokens in the text so far where they are above 0, and multiplies them
            where they are below (Keskar et al. 2019); 1 has no effect.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < float("inf"):
            raise MisuseError(f"temperature is {self.temperature}; it must be 0 (greedy) or above")
        if self.top_k is not None and self.top_k < 1:
            raise MisuseError(f"top_k is {self.top_k}; at least 1 token must be allowed")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise MisuseError(f"top_p is {self.top_p}; it must be above 0 and at most 1")
        if self.min_p is not None and not 0.0 <= self.min_p <= 1.0:
            raise MisuseError(f"min_p is {self.min_p}; it must be from 0 to 1")
        if not 0.0 < self.repetition_penalty < float("inf"):
            raise MisuseError(
                f"repetition_penalty is {self.repetition_penalty}; it must be above 0, and 1 has no effect"
            )

    @classmethod
    def greedy(cls) -> "Sampling":
        """Greedy decoding: the top-1 token; the lower id if two are equal."""
        return cls(temperature=0.0)

    @property
    def is_greedy(self) -> bool:
        """Whether this is greedy decoding."""
        return self.temperature == 0.0

    @property
    def is_penalized(self) -> bool:
        """Whether the choice depends on the text so far."""
        return self.repetition_penalty != 1.0

    def sample(
        self, logits: Float32[np.ndarray, " vocab"], random: np.random.Generator, text: Sequence[int] = ()
    ) -> int:
        """The id of the next token; `text` are the ids so far, the prompt included."""
        if self.is_greedy:
            return int(self._penalized(logits, text).argmax())
        return int(random.choice(len(logits), p=self.probabilities(logits, text)))

    def probabilities(
        self, logits: Float32[np.ndarray, " vocab"], text: Sequence[int] = ()
    ) -> Float64[np.ndarray, " vocab"]:
        """Probability of each token after all settings; sums to 1.

        Raises:
            EdgeError: logits are not finite.
        """
        scaled = self._penalized(logits.astype(np.float64), text)
        if not np.isfinite(scaled).all():
            raise EdgeError("logits are not all finite, so no token can be sampled")
        with np.errstate(over="ignore"):  # at the lowest temperatures all but the top-1 token are at minus infinity
            scaled = (scaled - scaled.max()) / max(self.temperature, np.finfo(np.float64).tiny)
        order = np.argsort(-scaled, kind="stable")
        chance = np.exp(scaled[order])
        if self.top_k is not None:
            chance[self.top_k :] = 0.0
        chance /= chance.sum()
        if self.top_p is not None:
            before = np.cumsum(chance) - chance
            chance[before >= self.top_p] = 0.0
        if self.min_p is not None:
            chance[chance < self.min_p * chance[0]] = 0.0
        kept: Float64[np.ndarray, " vocab"] = np.zeros_like(chance)
        kept[order] = chance / chance.sum()
        return kept

    def _penalized(self, logits: Float[np.ndarray, " vocab"], text: Sequence[int]) -> Float[np.ndarray, " vocab"]:
        if not self.is_penalized or not text:
            return logits
        penalized, ids = logits.copy(), list(text)
        found = logits[ids]
        penalized[ids] = np.where(found < 0, found * self.repetition_penalty, found / self.repetition_penalty)
        return penalized


class LogProbabilities:
    """Log-probabilities of the model, before any sampling. Reuses one buffer."""

    def __init__(self, vocab_size: int) -> None:
        self._powers = np.empty(vocab_size, np.float32)

    def of(self, token: int, logits: Float32[np.ndarray, " vocab"], top1: int | None = None) -> float:
        """Natural logarithm of the probability of `token`.

        Args:
            top1: The token with the largest logit, if it is known.
        """
        # float32 is as exact as the logits, since numpy sums pairwise. A maximum over the vocabulary takes as long as
        # the exponentials, so logits that need no shift get none.
        top = logits.max() if top1 is None else logits[top1]
        shift = np.float32(0) if abs(top) < _SAFE else top
        np.exp(logits - shift if shift else logits, out=self._powers)
        return float(logits[token] - shift) - math.log(np.add.reduce(self._powers))
