"""The figures that an evaluation finds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.training.recall import Recall

SAMPLE_TOKENS = 60
"""The most tokens of a sample."""


@dataclass(frozen=True)
class Evaluation:
    """Figures of one model on one engine. Shares are 0 to 1.

    Attributes:
        engine: Engine and precision, as users write them.
        tokens: Tokens of the text that were scored: all but the first.
        text_bytes: UTF-8 bytes of those tokens.
        nats: Sum of their cross-entropy losses, in nats.
        exact_zeros: For each layer, the share of neuron activations that are exactly 0.
        always_zero: For each layer, the share of neurons that are 0 on each of `neuron_tokens`.
        chosen: For each layer, the share of tokens that choose each expert; empty for a dense FFN.
        neuron_tokens: Tokens of the text on which these shares are measured.
        induction: For each layer and head, `edge.measure.attention.prefix_matching`, mean over 10 random sequences.
        induction_by_pair: The same with `prefix_matching_by_pair`, the other variant of Olsson et al. 2022.
        copied: Share of repeated random tokens that are the top-1 prediction.
        recall: Recall of the facts of each relation.
        samples: Each prompt with its greedy continuation.
    """

    engine: str
    tokens: int
    text_bytes: int
    nats: float
    exact_zeros: tuple[float, ...]
    always_zero: tuple[float, ...]
    chosen: tuple[tuple[float, ...], ...]
    neuron_tokens: int
    induction: tuple[tuple[float, ...], ...]
    induction_by_pair: tuple[tuple[float, ...], ...]
    copied: float
    recall: tuple[Recall, ...]
    samples: tuple[tuple[str, str], ...]

    @property
    def nats_per_token(self) -> float:
        """Mean cross-entropy loss per scored token, the loss that is trained."""
        return self.nats / self.tokens

    @property
    def bits_per_byte(self) -> float:
        """`nats / ln 2 / bytes`: comparable between tokenizers, since the bytes do not depend on the tokenizer."""
        return float(self.nats / np.log(2) / self.text_bytes)

    @property
    def perplexity_per_byte(self) -> float:
        """`2 ** bits_per_byte`: the number of equally probable bytes with the same entropy."""
        return float(2**self.bits_per_byte)

    @property
    def best_head(self) -> tuple[int, int, float]:
        """Layer, head and score of the head with the highest induction score."""
        scores = np.array(self.induction)
        layer, head = np.unravel_index(scores.argmax(), scores.shape)
        return int(layer), int(head), float(scores[layer, head])


def overall(recalls: Sequence[Recall]) -> Recall:
    """All relations as one: means weighted by the number of prompts of each relation."""
    prompts = [row.prompts for row in recalls]
    shares = ("first", "among_five", "baseline_first", "baseline_among_five")
    means = {share: float(np.average([getattr(row, share) for row in recalls], weights=prompts)) for share in shares}
    return Recall(relation="all", facts=sum(row.facts for row in recalls), prompts=sum(prompts), **means)


def extremes(chosen: Sequence[float]) -> tuple[int, float, int, float]:
    """The expert that most tokens choose, their share, the expert that fewest choose, and theirs."""
    busiest, least = int(np.argmax(chosen)), int(np.argmin(chosen))
    return busiest, chosen[busiest], least, chosen[least]
