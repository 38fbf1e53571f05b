"""How much of its attention every head gives to one relation, on random tokens that come again and again."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from edge.lab.experiments.patterns import even_pattern, layer_patterns
from edge.lab.subject import Subject
from edge.measure.attention import prefix_matching
from edge.measure.heads import detection_share, duplicate_token_mask, previous_token_score
from edge.watch import Watch

SEQUENCES = 6
LIST_TOKENS, TIMES = 25, 4  # Olsson et al. 2022, p. 60

ROLE_SHARE = 0.5
"""Of a head's attention, for it to have a role: what Clark et al. 2019 (section 3.1) ask of a previous-token head."""

LOOKING = Watch(parts=("attn.query", "attn.key"))

ROLES = ("induction", "previous token", "duplicate token")


@dataclass(frozen=True)
class Roles:
    """Shares of attention that each head gives to each of `ROLES`, sequence by sequence; and an even head's.

    The share of duplicate tokens is over tokens that have an earlier copy.
    """

    heads: Float64[np.ndarray, "sequence role layer head"]
    even: Float64[np.ndarray, "role layer"]

    def of(self, role: str) -> Float64[np.ndarray, "sequence layer head"]:
        """One role."""
        return self.heads[:, ROLES.index(role)]


def repeated(subject: Subject) -> list[list[int]]:
    """The random lists, each said several times over."""
    return list(subject.repeats(SEQUENCES, LIST_TOKENS, TIMES))


def scores(
    pattern: Float[np.ndarray, "*head token past"], ids: Int[np.ndarray, " token"]
) -> Float64[np.ndarray, "role *head"]:
    """What some heads give to each role."""
    copies = duplicate_token_mask(ids)
    duplicate = detection_share(pattern, copies) / max(copies.any(axis=-1).mean(), 1 / len(ids))
    return np.array([prefix_matching(pattern, ids), previous_token_score(pattern), duplicate], np.float64)


def roles(subject: Subject) -> Roles:
    """Every head of every layer."""
    heads, even = [], []
    for ids in repeated(subject):
        trace, tokens = subject.see(ids, watch=LOOKING), np.array(ids)
        looks = [layer_patterns(trace, layer) for layer in range(subject.spec.n_layers)]
        heads.append(np.stack([scores(look, tokens) for look in looks], axis=1))
        flat = [even_pattern(len(ids), kind.window) for kind in subject.spec.layers]
        even.append(np.stack([scores(look, tokens) for look in flat], axis=1))
    return Roles(np.array(heads), np.mean(even, axis=0))
