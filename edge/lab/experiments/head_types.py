"""Head types: the attention of every head to its induction, previous-token and duplicate-token targets."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from edge.lab.context import LabContext
from edge.lab.experiments.patterns import layer_patterns, uniform_pattern
from edge.measure.attention import prefix_matching
from edge.measure.heads import detection_share, duplicate_token_mask, previous_token_score
from edge.watch import Watch
from models.sites import pattern_parts

SEQUENCES = 6
LIST_TOKENS, TIMES = 25, 4  # Olsson et al. 2022, p. 60

TYPE_SHARE = 0.5
"""A head has a type if it puts this share of its attention on the type's target (Clark et al. 2019, section 3.1)."""


def attention_watch(lab: LabContext) -> Watch:
    """The sites from which attention patterns follow."""
    return Watch(parts=pattern_parts(lab.spec))


HEAD_TYPES = ("induction", "previous token", "duplicate token")


@dataclass(frozen=True)
class HeadTypeShares:
    """The attention to the target of each of `HEAD_TYPES`: of each head for each sequence, and of uniform attention.

    For duplicate tokens the share is over tokens that have an earlier copy.
    """

    heads: Float64[np.ndarray, "sequence type layer head"]
    uniform: Float64[np.ndarray, "type layer"]

    def of(self, head_type: str) -> Float64[np.ndarray, "sequence layer head"]:
        """The shares for one head type."""
        return self.heads[:, HEAD_TYPES.index(head_type)]


def repeated(lab: LabContext) -> list[list[int]]:
    """Lists of random tokens, each repeated several times."""
    return list(lab.repeats(SEQUENCES, LIST_TOKENS, TIMES))


def scores(
    pattern: Float[np.ndarray, "*head token past"], ids: Int[np.ndarray, " token"]
) -> Float64[np.ndarray, "type *head"]:
    """The attention of some heads to the target of each head type."""
    copies = duplicate_token_mask(ids)
    duplicate = detection_share(pattern, copies) / max(copies.any(axis=-1).mean(), 1 / len(ids))
    return np.array([prefix_matching(pattern, ids), previous_token_score(pattern), duplicate], np.float64)


def head_type_shares(lab: LabContext) -> HeadTypeShares:
    """The shares of every head of every layer."""
    heads, uniform = [], []
    for ids in repeated(lab):
        trace, tokens = lab.run(ids, watch=attention_watch(lab)), np.array(ids)
        patterns = [layer_patterns(trace, layer) for layer in range(lab.spec.n_layers)]
        heads.append(np.stack([scores(pattern, tokens) for pattern in patterns], axis=1))
        even = [uniform_pattern(len(ids), kind.window) for kind in lab.spec.attentions]
        uniform.append(np.stack([scores(pattern, tokens) for pattern in even], axis=1))
    return HeadTypeShares(np.array(heads), np.mean(uniform, axis=0))
