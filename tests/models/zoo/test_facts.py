"""The tables of facts hold what they promise, and what is held out of training stays out."""

from collections import Counter

import numpy as np
import pytest

from models.tokenizer import Tokenizer, open_tokenizer
from models.training.lessons import Lessons
from models.zoo import zoo_folder
from models.zoo.facts import TAUGHT, Fact, Phrasing, Use, facts, facts_of, phrasings_of, relations

ROWS, WIDTH = 60, 513


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    folder = zoo_folder("fable-relu")
    assert folder is not None
    opened = open_tokenizer(folder)
    assert opened is not None
    return opened


def phrasings(relation: str) -> tuple[Phrasing, ...]:
    return phrasings_of(relation, *Use)


def every_saying() -> list[tuple[Fact, Phrasing]]:
    return [(fact, phrasing) for fact in facts() for phrasing in phrasings(fact.relation)]


def test_a_question_has_one_answer() -> None:
    asked = Counter((fact.relation, fact.subject) for fact in facts())
    twice = [question for question, times in asked.items() if times > 1]
    assert not twice, f"answered more than once: {twice}"


def test_facts_are_plain_ascii() -> None:
    texts = [side for fact in facts() for side in (fact.relation, fact.subject, fact.answer)]
    texts += [phrasing.text for relation in relations() for phrasing in phrasings(relation)]
    odd = [text for text in texts if not text or not text.isascii() or text != text.strip() or "  " in text]
    assert not odd, f"empty, not ASCII, or with stray spaces: {odd}"


@pytest.mark.parametrize("relation", relations())
def test_a_relation_has_phrasings_for_both_uses_and_none_for_two(relation: str) -> None:
    taught, kept = phrasings_of(relation, *TAUGHT), phrasings_of(relation, Use.HELD_OUT)
    assert taught and kept, f"{relation} has {len(taught)} phrasings to teach and {len(kept)} kept back"
    texts = [phrasing.text for phrasing in taught + kept]
    assert len(set(texts)) == len(texts), f"{relation} has a phrasing twice"
    for text in texts:
        assert text.count("{subject}") == text.count("{answer}") == 1, f"'{text}' does not say subject and answer once"
        assert text.index("{subject}") < text.index("{answer}"), f"'{text}' answers before it asks"
        assert text.count("{") == 2, f"'{text}' has an unknown placeholder"


def test_a_prompt_and_its_answer_begin_the_sentence() -> None:
    wrong = [
        phrasing.sentence(fact)
        for fact, phrasing in every_saying()
        if not phrasing.sentence(fact).startswith(f"{phrasing.prompt(fact)} {fact.answer}")
    ]
    assert not wrong, f"{len(wrong)} sentences are not prompt, space, answer: {wrong[:3]}"


def test_after_the_answer_a_sentence_only_ends() -> None:
    for fact, phrasing in every_saying():
        end = phrasing.sentence(fact).removeprefix(f"{phrasing.prompt(fact)} {fact.answer}")
        assert 1 <= len(end) <= 2 and not end.isalnum(), f"'{phrasing.sentence(fact)}' goes on with '{end}'"


def test_a_sentence_begins_with_a_capital_letter() -> None:
    for fact, phrasing in every_saying():
        sentence = phrasing.sentence(fact)
        assert sentence.lstrip('"')[0].isupper(), f"'{sentence}' does not"


def test_many_countries_are_known_from_four_sides() -> None:
    capitals = {fact.subject for fact in facts_of("capital")}
    for relation in ("continent", "language", "currency"):
        capitals &= {fact.subject for fact in facts_of(relation)}
    assert len(capitals) >= 150, f"only {len(capitals)} countries have capital, continent, language and currency"


def test_what_is_kept_back_is_never_taught(tokenizer: Tokenizer) -> None:
    """Many sequences of lessons hold sentences of every relation, none of them held out, whatever its first letter."""
    lessons, random = Lessons(tokenizer.rust), np.random.default_rng(0)
    taught = "\n".join(tokenizer.decode(lessons.row(WIDTH, random, TAUGHT).tolist()) for _ in range(ROWS))
    for relation in relations():
        said = {use: 0 for use in Use}
        for use in said:
            ways = phrasings_of(relation, use)
            said[use] = sum(way.sentence(fact)[1:] in taught for way in ways for fact in facts_of(relation))
        reported = said[Use.TRAIN] + said[Use.FINISH]
        assert reported >= 5, f"{ROWS} sequences teach {reported} sentences of {relation} only"
        assert said[Use.HELD_OUT] == 0, f"{said[Use.HELD_OUT]} sentences of {relation} kept back were taught"
