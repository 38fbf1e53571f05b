"""Routers: how a mixture of experts chooses the experts of a token, and the weight that it gives each of them.

A router scores every expert, `s = x Wᵀ (+ b)`. All kinds choose the `top_k` best ones.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class TopFirst:
    """Weights are the softmax of the scores of the chosen experts: they sum to 1 (gpt-oss, Granite)."""


@dataclass(frozen=True)
class SoftmaxFirst:
    """Weights are the softmax of all scores (Qwen, Mixtral, OLMoE).

    Attributes:
        renormalized: Whether the weights of the chosen experts are divided by their sum.
        scale: Factor of all weights.
    """

    renormalized: bool
    scale: float = 1.0


@dataclass(frozen=True)
class Sigmoid:
    """Weights are the sigmoid of the scores. A correction is added for the choice only (DeepSeek V3, LFM2).

    Attributes:
        corrected: Whether each expert has a correction.
        renormalized: Whether the weights of the chosen experts are divided by their sum plus `eps`.
        scale: Factor of all weights.
    """

    corrected: bool
    renormalized: bool
    eps: float
    scale: float = 1.0


Router = TopFirst | SoftmaxFirst | Sigmoid


@dataclass(frozen=True)
class NoGroups:
    """Every expert can be chosen."""


@dataclass(frozen=True)
class Groups:
    """Only experts of the `kept` best groups can be chosen (DeepSeek).

    Attributes:
        count: Groups of equally many experts, in order.
        best: A group's score is the sum of its `best` best experts.
    """

    count: int
    kept: int
    best: int


ExpertGroups = NoGroups | Groups
