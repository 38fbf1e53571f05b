"""The sequences of every training step, drawn from the step's number alone: a resumed run sees the same ones."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt16

from models.training.recipe import Recipe

UNSCORED = -100
"""Target of a token that nobody could predict; the loss leaves it out."""

_SHORTEST_SPAN = 16


@dataclass(frozen=True)
class Batch:
    """Sequences and, for each of their tokens, the token that follows."""

    ids: Int[np.ndarray, "batch token"]
    targets: Int[np.ndarray, "batch token"]


def batch_at(recipe: Recipe, text: UInt16[np.ndarray, " all"], step: int) -> Batch:
    """The batch of one step. The activation and the number of steps have no part in it."""
    random = np.random.default_rng([recipe.seed, step])
    width = recipe.length + 1
    starts = random.integers(0, len(text) - width, recipe.batch)
    rows = np.stack([text[start : start + width] for start in starts]).astype(np.int64)
    targets = rows.copy()
    for row, target in zip(rows, targets, strict=True):
        if random.random() < recipe.repeat_share:
            if random.random() < 0.5:
                target[:] = repeat_text(row, random)
            else:
                target[:] = repeat_noise(row, recipe.vocab_size, random)
    return Batch(rows[:, :-1], targets[:, 1:])


def repeat_text(row: Int[np.ndarray, " token"], random: np.random.Generator) -> Int[np.ndarray, " token"]:
    """Writes a span of `row` a second time, further on. Returns the targets: all of it counts."""
    span = int(random.integers(_span_floor(len(row)), len(row) // 2))
    first = int(random.integers(0, len(row) - 2 * span + 1))
    again = int(random.integers(first + span, len(row) - span + 1))
    row[again : again + span] = row[first : first + span]
    return row


def repeat_noise(
    row: Int[np.ndarray, " token"], vocab_size: int, random: np.random.Generator
) -> Int[np.ndarray, " token"]:
    """Fills `row` with random tokens that come again and again. Returns the targets: the first round is unscored."""
    span = int(random.integers(_span_floor(len(row)), len(row) // 2))
    row[:] = np.resize(random.integers(0, vocab_size, span), len(row))
    targets = row.copy()
    targets[:span] = UNSCORED
    return targets


def _span_floor(width: int) -> int:
    """Shortest span worth repeating; sequences too short for it repeat a quarter."""
    return min(_SHORTEST_SPAN, width // 4)
