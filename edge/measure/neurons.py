"""The FFN's neurons as key-value memories: triggers, promoted tokens, agreement and composition.

The coefficient of neuron `i` is the match of its key; it contributes `s_i` times its value vector
`v_i = W_down[:, i]` (Geva et al. 2021, arXiv 2012.14913).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int64

_SCORES_AT_ONCE = 2**22
_UNKNOWN = -1


def vector_norms(vectors: Float[np.ndarray, "neuron model"]) -> Float32[np.ndarray, " neuron"]:
    """`‖v_i‖₂`: the L2 norm of each vector."""
    return np.asarray(np.linalg.norm(vectors.astype(np.float32, copy=False), axis=-1), np.float32)


def dominant(
    neurons: Float[np.ndarray, " neuron"], value_norms: Float[np.ndarray, " neuron"], k: int
) -> tuple[Int64[np.ndarray, " top"], Float32[np.ndarray, " top"]]:
    """The k strongest neurons at one token, strongest first: their indices and signed coefficients.

    Ranked by `|s_i| · ‖v_i‖₂`, the dominant sub-updates of Geva et al. 2022 (arXiv 2203.14680). Ties are ordered by
    index.
    """
    if not 1 <= k <= len(neurons):
        raise ValueError(f"k must be 1 to {len(neurons)}, the number of neurons, got {k}")
    strength = np.abs(neurons.astype(np.float64)) * value_norms
    index = np.argsort(-strength, kind="stable")[:k].astype(np.int64)
    return index, neurons[index].astype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class PromotedTokens:
    """The promoted tokens and the suppressed tokens of each neuron, strongest first.

    Attributes:
        top: Ids of the highest scores.
        top_scores: Those scores, in logits per unit of coefficient.
        bottom: Ids of the lowest scores.
        bottom_scores: Those scores.
    """

    top: Int64[np.ndarray, "neuron k"]
    top_scores: Float32[np.ndarray, "neuron k"]
    bottom: Int64[np.ndarray, "neuron k"]
    bottom_scores: Float32[np.ndarray, "neuron k"]


def _scores(
    vectors: Float[np.ndarray, "neuron model"], unembedding: Float[np.ndarray, "vocab model"]
) -> Iterator[tuple[slice, Float32[np.ndarray, "rows vocab"]]]:
    """`W_U · v_i` for blocks of neurons, so that a large vocabulary fits in memory."""
    table = unembedding.astype(np.float32, copy=False).T
    each = max(1, _SCORES_AT_ONCE // max(1, len(unembedding)))
    for first in range(0, len(vectors), each):
        rows = slice(first, first + each)
        yield rows, vectors[rows].astype(np.float32, copy=False) @ table


def _highest(
    scores: Float32[np.ndarray, "rows vocab"], k: int
) -> tuple[Int64[np.ndarray, "rows k"], Float32[np.ndarray, "rows k"]]:
    """The k highest entries of each row in descending order; ties are ordered by id."""
    ids = np.sort(np.argpartition(scores, scores.shape[1] - k, axis=-1)[:, -k:], axis=-1)
    found = np.take_along_axis(scores, ids, axis=-1)
    order = np.argsort(-found, axis=-1, kind="stable")
    return np.take_along_axis(ids, order, axis=-1).astype(np.int64), np.take_along_axis(found, order, axis=-1)


def promoted(
    value_vectors: Float[np.ndarray, "neuron model"], unembedding: Float[np.ndarray, "vocab model"], k: int
) -> PromotedTokens:
    """The k promoted tokens of each neuron and its k suppressed tokens: extremes of `W_U · v_i`, in logits.

    The value seen as a distribution over the vocabulary (Geva et al. 2021, arXiv 2012.14913; 2022, arXiv 2203.14680);
    softmax keeps the order. The papers leave the final norm out; pass `edge.readout.Readout.folded` vectors to
    include its gain. With a negative coefficient, a neuron promotes the tokens of `bottom`. Ties at the last place are
    broken arbitrarily.
    """
    neurons, vocab = len(value_vectors), len(unembedding)
    if not 1 <= k <= vocab:
        raise ValueError(f"k must be 1 to {vocab}, the size of the vocabulary, got {k}")
    top, bottom = np.empty((neurons, k), np.int64), np.empty((neurons, k), np.int64)
    top_scores, bottom_scores = np.empty((neurons, k), np.float32), np.empty((neurons, k), np.float32)
    for rows, scores in _scores(value_vectors, unembedding):
        top[rows], top_scores[rows] = _highest(scores, k)
        bottom[rows], lowest = _highest(-scores, k)
        bottom_scores[rows] = -lowest
    return PromotedTokens(top=top, top_scores=top_scores, bottom=bottom, bottom_scores=bottom_scores)


def top_token(
    vectors: Float[np.ndarray, "neuron model"], unembedding: Float[np.ndarray, "vocab model"]
) -> Int64[np.ndarray, " neuron"]:
    """`argmax(W_U · v)`: the top promoted token of each vector; ties give the lower id.

    For value vectors, and for the FFN's output at each token (Geva et al. 2021, arXiv 2012.14913).
    """
    found = np.empty(len(vectors), np.int64)
    for rows, scores in _scores(vectors, unembedding):
        found[rows] = scores.argmax(axis=-1)
    return found


@dataclass(eq=False, kw_only=True)
class Triggers:
    """The top trigger of each neuron of a layer in a text; the size does not depend on the length of the text.

    Only a positive coefficient is a trigger: a neuron without one keeps position and next token -1.

    Attributes:
        coefficient: The largest coefficient of each neuron so far, initially 0.
        position: Its position in the text; the earliest one for ties.
        next_token: The id of the next token.
    """

    coefficient: Float32[np.ndarray, " neuron"]
    position: Int64[np.ndarray, " neuron"]
    next_token: Int64[np.ndarray, " neuron"]

    @classmethod
    def empty(cls, count: int) -> "Triggers":
        """No triggers."""
        unknown = np.full(count, _UNKNOWN, np.int64)
        return cls(coefficient=np.zeros(count, np.float32), position=unknown, next_token=unknown.copy())

    def add(
        self, neurons: Float[np.ndarray, "token neuron"], next_tokens: Int[np.ndarray, " token"], first: int
    ) -> None:
        """Adds tokens: row 0 is at position `first` of the text; `next_tokens` has the id after each token."""
        if not len(neurons):
            return
        coefficients = neurons.astype(np.float32, copy=False)
        row = coefficients.argmax(axis=0)
        # A coefficient that is not above 0 never replaces the initial one: 0 at position -1.
        part = Triggers(
            coefficient=coefficients.max(axis=0),
            position=(first + row).astype(np.int64),
            next_token=next_tokens[row].astype(np.int64),
        )
        both = self.merged(part)
        self.coefficient, self.position, self.next_token = both.coefficient, both.position, both.next_token

    def merged(self, other: "Triggers") -> "Triggers":
        """The triggers of both parts of a text: the larger coefficient, the earlier position for ties."""
        if len(self.coefficient) != len(other.coefficient):
            raise ValueError(
                f"triggers of {len(self.coefficient)} and {len(other.coefficient)} neurons cannot be merged"
            )
        equal = other.coefficient == self.coefficient
        wins = (other.coefficient > self.coefficient) | (equal & (other.position < self.position))
        return Triggers(
            coefficient=np.where(wins, other.coefficient, self.coefficient),
            position=np.where(wins, other.position, self.position),
            next_token=np.where(wins, other.next_token, self.next_token),
        )


def agreement_rate(top_of_neuron: Int[np.ndarray, " neuron"], next_of_trigger: Int[np.ndarray, " neuron"]) -> float:
    """Agreement rate: `mean(argmax p_i = w_i)`, 0 to 1.

    The share of neurons whose top promoted token is the token after their top trigger.

    Geva et al. 2021, arXiv 2012.14913, section 4: near 0 in the first ten of 16 layers, then up to 3.5%; chance is
    1 / vocab. Neurons without a trigger (next token -1) are left out; NaN if none has one.
    """
    known = next_of_trigger != _UNKNOWN
    return float(np.mean(top_of_neuron[known] == next_of_trigger[known])) if known.any() else float("nan")


def composition_rate(
    top_of_output: Int[np.ndarray, " token"],
    top_of_neurons: Int[np.ndarray, " neuron"],
    active: Bool[np.ndarray, "token neuron"],
) -> float:
    """Composition rate: the share of tokens where no active neuron has the FFN's top promoted token, 0 to 1.

    `mean(argmax(W_U · FFN_out) ∉ {argmax(W_U · v_i): i active})`, the zero-agreement rate of Geva et al. 2021 (arXiv
    2012.14913, section 5): at least 68% in every layer. Tokens without an active neuron are left out; NaN if none has
    one.
    """
    counted = active.any(axis=-1)
    agrees = (active & (top_of_output[:, None] == top_of_neurons[None, :])).any(axis=-1)
    return float(np.mean(~agrees[counted])) if counted.any() else float("nan")
