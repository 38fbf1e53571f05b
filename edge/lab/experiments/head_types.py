"""How much of its attention every head gives to one relation, on random tokens that come again and again."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from edge.lab.context import LabContext
from edge.lab.experiments.patterns import layer_patterns, uniform_pattern
from edge.measure.attention import prefix_matching
from edge.measure.heads import detection_share, duplicate_token_mask, previous_token_score
from edge.watch import Watch

SEQUENCES = 6
LIST_TOKENS, TIMES = 25, 4  # Olsson et al. 2022, p. 60

TYPE_SHARE = 0.5
"""Of a head's attention, for it to have a role: what Clark et al. 2019 (section 3.1) ask of a previous-token head."""

ATTENTION_WATCH = Watch(parts=("attn.query", "attn.key"))

HEAD_TYPES = ("induction", "previous token", "duplicate token")


@dataclass(frozen=True)
class HeadTypeShares:
    """Shares of attention that each head gives to each of `HEAD_TYPES`, sequence by sequence; and an even head's.

    The share of duplicate tokens is over tokens that have an earlier copy.
    """

    heads: Float64[np.ndarray, "sequence role layer head"]
    even: Float64[np.ndarray, "role layer"]

    def of(self, role: str) -> Float64[np.ndarray, "sequence layer head"]:
        """One role."""
        return self.heads[:, HEAD_TYPES.index(role)]


def repeated(lab: LabContext) -> list[list[int]]:
    """The random lists, each said several times over."""
    return list(lab.repeats(SEQUENCES, LIST_TOKENS, TIMES))


def scores(
    pattern: Float[np.ndarray, "*head token past"], ids: Int[np.ndarray, " token"]
) -> Float64[np.ndarray, "role *head"]:
    """What some heads give to each role."""
    copies = duplicate_token_mask(ids)
    duplicate = detection_share(pattern, copies) / max(copies.any(axis=-1).mean(), 1 / len(ids))
    return np.array([prefix_matching(pattern, ids), previous_token_score(pattern), duplicate], np.float64)


def roles(lab: LabContext) -> HeadTypeShares:
    """Every head of every layer."""
    heads, even = [], []
    for ids in repeated(lab):
        trace, tokens = lab.run(ids, watch=ATTENTION_WATCH), np.array(ids)
        looks = [layer_patterns(trace, layer) for layer in range(lab.spec.n_layers)]
        heads.append(np.stack([scores(look, tokens) for look in looks], axis=1))
        flat = [uniform_pattern(len(ids), kind.window) for kind in lab.spec.layers]
        even.append(np.stack([scores(look, tokens) for look in flat], axis=1))
    return HeadTypeShares(np.array(heads), np.mean(even, axis=0))
