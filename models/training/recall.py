"""How many of the taught facts a model says by itself, asked in sentences that it never saw."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from edge.session import Model
from models.errors import MisuseError
from models.tokenizer import Tokenizer
from models.zoo.facts import Fact, Use, facts_of, phrasings_of

FEW = 5
"""An answer is among the likeliest where each of its tokens is one of so many."""


@dataclass(frozen=True)
class Recall:
    """What a model knows of one relation. Shares are 0 to 1.

    Attributes:
        facts: Facts that were asked for.
        prompts: Those facts times the held-out phrasings: the prompts that the first two shares are taken of.
        first: Share of prompts whose whole answer is spelled by the likeliest token at every place.
        among_five: Share of prompts whose answer is spelled by tokens that are each among the five likeliest.
        baseline_first: Share of facts whose answer is the most frequent one of the relation.
        baseline_among_five: Share of facts whose answer is among the five most frequent ones of the relation.
    """

    relation: str
    facts: int
    prompts: int
    first: float
    among_five: float
    baseline_first: float
    baseline_among_five: float


def ranks(logits: Float32[np.ndarray, "token vocab"], ids: Int[np.ndarray, " token"]) -> Int[np.ndarray, " token"]:
    """How many tokens come before each of `ids`: 0 is what greedy decoding takes, the lower id where two are equal."""
    own = np.take_along_axis(logits, ids[:, None], axis=1)
    lower = np.arange(logits.shape[1])[None, :] < ids[:, None]
    return np.asarray(((logits > own) | ((logits == own) & lower)).sum(axis=1))


def worst_rank(model: Model, tokenizer: Tokenizer, prompt: str, answer: str) -> int:
    """The rank of the answer's least likely token, each token being judged after the right ones before it."""
    given, added = tokenizer.encode_answer(prompt, answer)
    if not given or not added:
        raise MisuseError(f"the tokenizer of {model.name} leaves nothing of '{prompt}' or of '{answer}' to be asked")
    logits = model.logits([*given, *added[:-1]])[-len(added) :]
    return int(ranks(logits, np.array(added, np.int64)).max())


def baseline(asked: Sequence[Fact], known: Sequence[Fact], guesses: int) -> float:
    """Share of the facts asked for that are right for somebody who says the most frequent of the known answers.

    Where several answers are equally frequent and not all can be said, each is as likely to be.
    """
    times = Counter(fact.answer for fact in known)
    rarest = min(count for _, count in times.most_common(guesses))
    sure = sum(count > rarest for count in times.values())
    tied = sum(count == rarest for count in times.values())
    chance = min(1.0, (guesses - sure) / tied)
    said = [1.0 if times[fact.answer] > rarest else chance * (times[fact.answer] == rarest) for fact in asked]
    return float(np.mean(said))


def recall(model: Model, tokenizer: Tokenizer, relation: str, most_facts: int | None = None) -> Recall:
    """Asks for the facts of one relation, at most `most_facts` of them, in every phrasing kept back from training.

    The facts themselves were trained on, so this measures memory that outlasts a change of words, not inference:
    `first = mean over prompts of [argmax p(· | prompt, a_<k) = a_k for every token a_k of the answer]`, which is what
    greedy decoding would write after the prompt; `among_five` has `a_k` among the five likeliest in its place. The
    whole answer counts, as its first token proves little: a syllable that starts many names is right by luck, and
    languages that share their first token would pass for one another. The baselines are what the frequencies of the
    relation's answers give away; only a score above them says that a fact is known. Petroni et al. 2019 (Language
    Models as Knowledge Bases?) ask alike, for single tokens, beside a baseline of frequencies.
    """
    known, phrasings = facts_of(relation), phrasings_of(relation, Use.HELD_OUT)
    asked = known[:most_facts]
    worst = [
        worst_rank(model, tokenizer, phrasing.prompt(fact), fact.answer) for fact in asked for phrasing in phrasings
    ]
    return Recall(
        relation=relation,
        facts=len(asked),
        prompts=len(worst),
        first=float(np.mean([rank < 1 for rank in worst])),
        among_five=float(np.mean([rank < FEW for rank in worst])),
        baseline_first=baseline(asked, known, 1),
        baseline_among_five=baseline(asked, known, FEW),
    )
