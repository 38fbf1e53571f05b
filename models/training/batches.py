"""The sequences of every training step. They depend only on the seed and the step, so a resumed run has the same."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt16

from models.training.lessons import Lessons
from models.training.recipe import Recipe

UNSCORED = -100
"""Target of a token that cannot be predicted; the loss leaves it out."""

TEXT_SHARE = 0.25
"""Share of the sequences with repeats that repeat a span of text; the others repeat random tokens."""

_SHORTEST_TEXT, _SHORTEST_NOISE = 16, 4


@dataclass(frozen=True)
class Batch:
    """Sequences, and for each of their tokens the next token."""

    ids: Int[np.ndarray, "batch token"]
    targets: Int[np.ndarray, "batch token"]


def batch_at(recipe: Recipe, text: UInt16[np.ndarray, " all"], lessons: Lessons, step: int) -> Batch:
    """The batch of one step. It does not depend on the activation or on the number of steps."""
    random = np.random.default_rng([recipe.seed, step])
    pairs = [_sequence(recipe, step, text, lessons, random) for _ in range(recipe.batch)]
    rows, targets = (np.stack(side) for side in zip(*pairs, strict=True))
    return Batch(rows[:, :-1], targets[:, 1:])


def _sequence(
    recipe: Recipe, step: int, text: UInt16[np.ndarray, " all"], lessons: Lessons, random: np.random.Generator
) -> tuple[Int[np.ndarray, " width"], Int[np.ndarray, " width"]]:
    """One sequence of a random kind, and its targets before they are shifted by one."""
    width, kind, facts = recipe.length + 1, random.random(), recipe.facts_at(step)
    if kind < facts:
        row = lessons.row(width, random, recipe.phrasings_at(step))
        return row, row
    start = random.integers(0, len(text) - width)
    row = text[start : start + width].astype(np.int64)
    if kind >= facts + recipe.repeat_share:
        return row, row
    if random.random() < TEXT_SHARE:
        return row, repeat_text(row, random)
    return row, repeat_noise(row, recipe.vocab_size, text, random)


def noise_batch(recipe: Recipe, text: UInt16[np.ndarray, " all"], random: np.random.Generator) -> Batch:
    """A batch of repeated random tokens only."""
    rows = np.empty((recipe.batch, recipe.length + 1), np.int64)
    targets = np.stack([repeat_noise(row, recipe.vocab_size, text, random) for row in rows])
    return Batch(rows[:, :-1], targets[:, 1:])


def repeat_text(row: Int[np.ndarray, " token"], random: np.random.Generator) -> Int[np.ndarray, " token"]:
    """Copies a span of `row` to a later place in it. Returns the targets: all tokens are scored."""
    span = int(random.integers(min(_SHORTEST_TEXT, len(row) // 4), len(row) // 2))
    first = int(random.integers(0, len(row) - 2 * span + 1))
    again = int(random.integers(first + span, len(row) - span + 1))
    row[again : again + span] = row[first : first + span]
    return row


def repeat_noise(
    row: Int[np.ndarray, " token"], vocab_size: int, text: UInt16[np.ndarray, " all"], random: np.random.Generator
) -> Int[np.ndarray, " token"]:
    """Fills `row` with lists of random tokens, each repeated two to four times.

    Half of the rows sample tokens uniformly from the vocabulary, the others with their frequency in `text`. Returns the
    targets; the first copy of each list is not scored.
    """
    targets = np.empty_like(row)
    uniform = random.random() < 0.5
    place = 0
    while place < len(row):
        span = int(np.exp(random.uniform(*np.log([_SHORTEST_NOISE, len(row) // 4]))))
        tokens = random.integers(0, vocab_size, span) if uniform else text[random.integers(0, len(text), span)]
        copies = np.tile(tokens.astype(np.int64), random.integers(2, 5))[: len(row) - place]
        row[place : place + len(copies)] = copies
        targets[place : place + len(copies)] = copies
        targets[place : place + span] = UNSCORED
        place += len(copies)
    return targets
