"""The texts of the lab: a passage, questions about facts, and pairs of sentences."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from models.errors import MisuseError
from models.sample_text import SAMPLE_TEXT
from models.zoo.facts import Use, facts, facts_of, phrasings_of, relations

SEED = 20_240_131
"""Random seed of the lab: every engine gets the same sequences."""


@dataclass(frozen=True)
class Question:
    """A question about a fact: a prompt that the answer completes.

    Attributes:
        prompt: A sentence up to its answer.
        subject: The entity that the fact is about; it occurs in the prompt.
        answer: Follows the prompt after a space.
    """

    relation: str
    prompt: str
    subject: str
    answer: str


@cache
def passage_text() -> str:
    """English text of about 15,000 words: Edge's own story, then every fact in a sentence, in a fixed random order."""
    every = facts()
    order = np.random.default_rng(SEED).permutation(len(every))
    ways = {relation: phrasings_of(relation, Use.TRAIN) for relation in relations()}
    lines = [ways[every[place].relation][turn % 4].sentence(every[place]) for turn, place in enumerate(order)]
    return SAMPLE_TEXT + "\n" + "\n".join(lines) + "\n"


def questions(relation: str = "capital") -> Iterator[Question]:
    """Questions about the facts of one relation; each prompt ends before its answer."""
    phrasing = phrasings_of(relation, Use.TRAIN)[0]
    for fact in facts_of(relation):
        yield Question(relation, phrasing.prompt(fact), fact.subject, fact.answer)


def read_questions(file: Path) -> tuple[Question, ...]:
    """A user's own questions, one per line: `prompt TAB subject TAB answer`; the subject must occur in the prompt.

    Raises:
        MisuseError: the file cannot be read, or a line has another form; the message names the line.
    """
    try:
        lines = file.read_text(encoding="utf8").splitlines()
    except UnicodeDecodeError as error:
        raise MisuseError(f"{file} is not UTF-8 text ({error.reason}); --questions takes a text file") from error
    except OSError as error:
        raise MisuseError(f"{file} cannot be read: {error.strerror}; --questions takes a text file") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        words = [word.strip() for word in line.split("\t")]
        if len(words) != 3 or not all(words) or words[1] not in words[0]:
            raise MisuseError(
                f"{file}, line {number}: '{line[:60]}' is not 'prompt TAB subject TAB answer' with the subject in the "
                "prompt; for example 'The capital of France is\tFrance\tParis'"
            )
        found.append(Question("yours", *words))
    if not found:
        raise MisuseError(f"{file} has no questions; write one per line: 'prompt TAB subject TAB answer'")
    return tuple(found)


@dataclass(frozen=True)
class Pair:
    """Two sentences with a word in common, and a word that is related to it.

    Attributes:
        first, second: The sentences.
        word: Occurs in both.
        related: The word of the first sentence that `word` is related to.
    """

    first: str
    second: str
    word: str
    related: str


TWO_SENSES = (
    Pair(
        "She rowed the boat to the bank of the river", "He put all his money in the bank of the city", "bank", "river"
    ),
    Pair("The bright light of the lamp filled the room", "The box was light and easy to carry", "light", "lamp"),
    Pair("In the spring the flowers began to grow", "They drank the cold water of the spring", "spring", "flowers"),
    Pair("The letter was sealed and sent to the king", "The first letter of the word is a", "letter", "king"),
    Pair("He could see the ship from the top of the mast", "The child played with a top upon the floor", "top", "mast"),
    Pair("The old man sat in the chair and took a rest", "The rest of the army marched away", "rest", "chair"),
    Pair("She struck a match and lit the fire", "They won the match against the other side", "match", "fire"),
    Pair("The ring on her finger was of gold", "They heard the bells ring in the tower", "ring", "finger"),
)
"""One word with two senses."""

AGREEMENT = (
    Pair("The man near the trees is", "The men near the tree are", "is", "man"),
    Pair("The boy with the books was", "The boys with the book were", "was", "boy"),
    Pair("The ship beyond the rocks was", "The ships beyond the rock were", "was", "ship"),
    Pair("The child of the kings has", "The children of the king have", "has", "child"),
    Pair("The horse behind the carts is", "The horses behind the cart are", "is", "horse"),
    Pair("The letter from the friends was", "The letters from the friend were", "was", "letter"),
)
"""LabContext-verb agreement: the verb agrees with `related`, not with the noun between them."""

REFERENCE = (
    Pair("Mary took the bag because she", "John took the bag because he", "she", "Mary"),
    Pair("The king was angry and he", "The queen was angry and she", "he", "king"),
    Pair("The girl was tired so she", "The boy was tired so he", "she", "girl"),
    Pair("The mother said that she", "The father said that he", "she", "mother"),
    Pair("When the woman came in she", "When the man came in he", "she", "woman"),
    Pair("My uncle told me that he", "My aunt told me that she", "he", "uncle"),
)
"""Coreference: the pronoun refers to `related`."""
