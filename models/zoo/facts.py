"""Facts and phrasings: training data of the bundled models besides books, and their recall test."""

import csv
import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

_ANSWER = "{answer}"
_FACTS, _PHRASINGS = "facts.tsv", "phrasings.tsv"
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Fact:
    """One answer to one question, such as Paris, the capital of France."""

    relation: str
    subject: str
    answer: str


class Use(StrEnum):
    """What a phrasing is for."""

    TRAIN = "train"  # trained from the first step
    FINISH = "finish"  # trained in the last phase only, so that facts have more phrasings than can be memorized
    HELD_OUT = "held-out"  # not trained; used for evaluation


TAUGHT = (Use.TRAIN, Use.FINISH)


@dataclass(frozen=True)
class Phrasing:
    """A sentence template for the facts of a relation, with `{subject}` once and, near its end, `{answer}`."""

    text: str

    def sentence(self, fact: Fact) -> str:
        """The whole sentence, starting with a capital letter."""
        text = self.text.replace("{subject}", fact.subject).replace(_ANSWER, fact.answer)
        first = next((place for place, letter in enumerate(text) if letter.isalpha()), 0)
        return text[:first] + text[first].upper() + text[first + 1 :]

    def prompt(self, fact: Fact) -> str:
        """The sentence up to its answer, without the space before it."""
        after = self.text[self.text.index(_ANSWER) + len(_ANSWER) :]
        return self.sentence(fact)[: -len(fact.answer + after)].rstrip(" ")


@cache
def facts() -> tuple[Fact, ...]:
    """All facts, ordered by relation."""
    return tuple(Fact(**row) for row in _rows(_FACTS))


def relations() -> tuple[str, ...]:
    """All relations, in the order of the file."""
    return tuple(dict.fromkeys(fact.relation for fact in facts()))


def facts_of(relation: str) -> tuple[Fact, ...]:
    """The facts of one relation."""
    return tuple(fact for fact in facts() if fact.relation == relation)


def phrasings_of(relation: str, *uses: Use) -> tuple[Phrasing, ...]:
    """The phrasings of one relation with one of `uses`."""
    return tuple(
        Phrasing(row["phrasing"]) for row in _phrasing_rows() if row["relation"] == relation and row["use"] in uses
    )


def table_hashes() -> dict[str, str]:
    """SHA-256 of both tables, by file name."""
    return {file: hashlib.sha256((_FOLDER / file).read_bytes()).hexdigest() for file in (_FACTS, _PHRASINGS)}


@cache
def _phrasing_rows() -> list[dict[str, str]]:
    return _rows(_PHRASINGS)


def _rows(file: str) -> list[dict[str, str]]:
    with (_FOLDER / file).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
