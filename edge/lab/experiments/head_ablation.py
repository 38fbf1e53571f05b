"""What copying costs without some heads, and whether one ranking of heads is another."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from edge.compare.estimate import token_losses_nats
from edge.edits import Edit, ScaleHead
from edge.lab.context import LabContext
from edge.lab.experiments.head_types import TIMES, repeated
from edge.lab.prompts import SEED

SEQUENCES = 2
"""Of the lists that heads are scored on."""

MAX_ABLATED = 16
"""Heads that are removed one by one at most: each costs a pass a sequence."""

DRAWS = 3
"""Random sets of heads beside a set that is removed together."""


def copying_nats(lab: LabContext, edits: Sequence[Edit] = ()) -> float:
    """What tokens of the second and later copies cost on average."""
    costs, begin = [], len(lab.start_tokens)
    for ids in repeated(lab)[:SEQUENCES]:
        copy = begin + (len(ids) - begin) // TIMES
        logits = lab.logits(ids, edits)[copy - 1 : -1]
        costs.append(token_losses_nats(logits, np.array(ids[copy:])).mean())
    return float(np.mean(costs))


def without(heads: Int[np.ndarray, "chosen 2"]) -> list[ScaleHead]:
    """Edits that remove heads, each a layer and a head."""
    return [ScaleHead(int(layer), int(head), 0.0) for layer, head in heads]


def heads_to_ablate(score: Float[np.ndarray, "layer head"]) -> Int[np.ndarray, " chosen"]:
    """The heads that are removed one by one, layer by layer: the highest by a score, and as many others at random."""
    order = np.argsort(-score, axis=None, kind="stable")
    first, others = order[: MAX_ABLATED // 2], order[MAX_ABLATED // 2 :]
    drawn = np.random.default_rng(SEED).permutation(others)[: MAX_ABLATED - len(first)]
    return np.concatenate([first, drawn])


def one_by_one(
    lab: LabContext, intact: float, score: Float[np.ndarray, "layer head"]
) -> Float64[np.ndarray, "layer head"]:
    """What copying costs more without each head, in nats; NaN where a head was not tried."""
    cost = np.full(score.shape, np.nan)
    for flat in heads_to_ablate(score):
        layer, head = divmod(int(flat), score.shape[1])
        cost[layer, head] = copying_nats(lab, without(np.array([[layer, head]]))) - intact
    return cost


def together(lab: LabContext, intact: float, chosen: Bool[np.ndarray, "layer head"]) -> tuple[float, float]:
    """What copying costs more without all chosen heads, and without as many others: the mean of random draws.

    NaN where none is chosen, or too few others are left.
    """
    these, others = np.argwhere(chosen), np.argwhere(~chosen)
    if not 0 < len(these) <= len(others):
        return float("nan"), float("nan")
    random = np.random.default_rng(SEED)
    draws = [others[random.permutation(len(others))[: len(these)]] for _ in range(DRAWS)]
    cost, *by_chance = (copying_nats(lab, without(heads)) - intact for heads in (these, *draws))
    return cost, float(np.mean(by_chance))


def ranks(values: Float[np.ndarray, " entry"]) -> Float64[np.ndarray, " entry"]:
    """The place of each entry in order of size, from 0; equal entries share the mean of their places."""
    below = (values[None, :] < values[:, None]).sum(axis=1)
    return np.asarray(below + ((values[None, :] == values[:, None]).sum(axis=1) - 1) / 2, np.float64)


def rank_correlation(a: Float[np.ndarray, " entry"], b: Float[np.ndarray, " entry"]) -> float:
    """Spearman's: the correlation of ranks, -1 to 1; NaN where either does not vary."""
    first, second = (placed - placed.mean() for placed in (ranks(a), ranks(b)))
    norm = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / norm if norm > 0 else float("nan")
