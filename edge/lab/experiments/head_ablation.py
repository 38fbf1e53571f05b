"""The loss on repeated tokens when heads are ablated."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from edge.change import Edit
from edge.compare.estimate import token_losses_nats
from edge.edits import ScaleHead
from edge.lab.context import LabContext
from edge.lab.experiments.head_types import TIMES, repeated
from edge.lab.prompts import SEED

SEQUENCES = 2
"""Lists on which the loss is measured: the first of those that give the scores of heads."""

MAX_ABLATED = 16
"""Maximum number of heads that are ablated one at a time; each needs one pass per sequence."""

RANDOM_SETS = 3
"""Random sets of heads, for comparison with the chosen set."""


def copying_nats(lab: LabContext, edits: Sequence[Edit] = ()) -> float:
    """Mean loss of the tokens in the second and later copies, in nats."""
    costs, begin = [], len(lab.start_tokens)
    for ids in repeated(lab)[:SEQUENCES]:
        copy = begin + (len(ids) - begin) // TIMES
        logits = lab.logits(ids, edits)[copy - 1 : -1]
        costs.append(token_losses_nats(logits, np.array(ids[copy:])).mean())
    return float(np.mean(costs))


def ablate(heads: Int[np.ndarray, "chosen 2"]) -> list[ScaleHead]:
    """Edits that ablate heads, each given as layer and head."""
    return [ScaleHead(int(layer), int(head), 0.0) for layer, head in heads]


def heads_to_ablate(score: Float[np.ndarray, "layer head"]) -> Int[np.ndarray, " chosen"]:
    """The heads to ablate one at a time: those with the highest score, and as many random others."""
    order = np.argsort(-score, axis=None, kind="stable")
    first, others = order[: MAX_ABLATED // 2], order[MAX_ABLATED // 2 :]
    sampled = np.random.default_rng(SEED).permutation(others)[: MAX_ABLATED - len(first)]
    return np.concatenate([first, sampled])


def one_by_one(
    lab: LabContext, intact: float, score: Float[np.ndarray, "layer head"]
) -> Float64[np.ndarray, "layer head"]:
    """Increase of the loss when each head is ablated, in nats; NaN for heads that were not ablated."""
    cost = np.full(score.shape, np.nan)
    for flat in heads_to_ablate(score):
        layer, head = divmod(int(flat), score.shape[1])
        cost[layer, head] = copying_nats(lab, ablate(np.array([[layer, head]]))) - intact
    return cost


def together(lab: LabContext, intact: float, chosen: Bool[np.ndarray, "layer head"]) -> tuple[float, float]:
    """Increase of the loss without the chosen heads, and without as many random other heads (mean over sets).

    NaN if no head is chosen, or if there are fewer other heads.
    """
    these, others = np.argwhere(chosen), np.argwhere(~chosen)
    if not 0 < len(these) <= len(others):
        return float("nan"), float("nan")
    random = np.random.default_rng(SEED)
    sets = [others[random.permutation(len(others))[: len(these)]] for _ in range(RANDOM_SETS)]
    cost, *by_chance = (copying_nats(lab, ablate(heads)) - intact for heads in (these, *sets))
    return cost, float(np.mean(by_chance))
