"""Facts as short documents of tokens; each training sequence gets newly sampled ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Int
from tokenizers import Tokenizer

from models.training.corpus import end_of_text
from models.zoo.facts import Fact, Phrasing, Use, facts_of, phrasings_of, relations

Uses = tuple[Use, ...]

_MOST_SENTENCES = 4
"""Most sentences of one document, so that a fact appears first in a text and also after other facts."""


@dataclass(frozen=True)
class Topic:
    """The facts of one relation, with the phrasings for training."""

    facts: Sequence[Fact]
    phrasings: Sequence[Phrasing]

    @property
    def weight(self) -> float:
        """Unnormalized sampling weight: `√(facts · different answers)`, larger for relations with more to learn."""
        return float((len(self.facts) * len({fact.answer for fact in self.facts})) ** 0.5)

    def sentence(self, random: np.random.Generator) -> str:
        """A random fact in a random phrasing."""
        phrasing = self.phrasings[int(random.integers(0, len(self.phrasings)))]
        return phrasing.sentence(self.facts[int(random.integers(0, len(self.facts)))])


class Lessons:
    """Makes sequences of facts in the tokens of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer, self._end = tokenizer, end_of_text(tokenizer)

    def row(self, width: int, random: np.random.Generator, uses: Uses) -> Int[np.ndarray, " width"]:
        """Documents of one to four sentences in the phrasings of `uses`, each ended by the end-of-text token.

        The last document is cut off.
        """
        ids: list[int] = []
        while len(ids) < width:
            ids += [*self._tokenizer.encode(_document(random, _topics(uses))).ids, self._end]
        return np.array(ids[:width], np.int64)


@cache
def _topics(uses: Uses) -> tuple[Topic, ...]:
    return tuple(Topic(facts_of(name), phrasings_of(name, *uses)) for name in relations())


def _document(random: np.random.Generator, topics: tuple[Topic, ...]) -> str:
    weights = np.array([topic.weight for topic in topics])
    chosen = random.choice(len(topics), random.integers(1, _MOST_SENTENCES + 1), p=weights / weights.sum())
    return " ".join(topics[topic].sentence(random) for topic in chosen)
