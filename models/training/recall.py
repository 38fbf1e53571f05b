"""Recall of the trained facts by a model, with prompts in phrasings that were held out from training."""

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
"""An answer is in the top 5 if each of its tokens is one of this number of most probable tokens."""


@dataclass(frozen=True)
class Recall:
    """Recall of the facts of one relation. Shares are 0 to 1.

    Attributes:
        facts: Number of facts that were tested.
        prompts: Number of prompts: those facts times the held-out phrasings. `first` and `among_five` are shares of it.
        first: Share of prompts for which every token of the answer is the top-1 token at its position.
        among_five: Share of prompts for which every token of the answer is among the five most probable tokens.
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
    """The rank of each of `ids`: 0 is the token of greedy decoding. Among equal logits the lower id ranks first."""
    own = np.take_along_axis(logits, ids[:, None], axis=1)
    lower = np.arange(logits.shape[1])[None, :] < ids[:, None]
    return np.asarray(((logits > own) | ((logits == own) & lower)).sum(axis=1))


def worst_rank(model: Model, tokenizer: Tokenizer, prompt: str, answer: str) -> int:
    """The worst rank of the tokens of the answer, each after the correct preceding tokens."""
    given, added = tokenizer.encode_answer(prompt, answer)
    if not given or not added:
        raise MisuseError(f"the tokenizer of {model.name} gives no tokens for '{prompt}' or for '{answer}'")
    logits = model.logits([*given, *added[:-1]])[-len(added) :]
    return int(ranks(logits, np.array(added, np.int64)).max())


def baseline(tested: Sequence[Fact], known: Sequence[Fact], answers: int) -> float:
    """Share of the tested facts that are correct if the `answers` most frequent known answers are always given.

    If several answers are equally frequent and not all of them can be given, they are given with equal probability.
    """
    times = Counter(fact.answer for fact in known)
    rarest = min(count for _, count in times.most_common(answers))
    sure = sum(count > rarest for count in times.values())
    tied = sum(count == rarest for count in times.values())
    chance = min(1.0, (answers - sure) / tied)
    scores = [1.0 if times[fact.answer] > rarest else chance * (times[fact.answer] == rarest) for fact in tested]
    return float(np.mean(scores))


def recall(model: Model, tokenizer: Tokenizer, relation: str, most_facts: int | None = None) -> Recall:
    """Tests at most `most_facts` facts of one relation in every phrasing that was held out from training.

    The facts themselves were trained on, so this measures recall in other words, not inference:
    `first = mean over prompts of [argmax p(· | prompt, a_<k) = a_k for every token a_k of the answer]`, which is the
    accuracy of greedy decoding after the prompt. For `among_five`, `a_k` is among the five most probable tokens. The
    whole answer is tested, since its first token is weak evidence: one syllable starts many names, and some languages
    share their first token. The baselines use only the frequencies of the relation's answers. A fact is learned only
    if the score is above them. Petroni et al. 2019 (Language Models as Knowledge Bases?) use the same test for single
    tokens, with a frequency baseline.
    """
    known, phrasings = facts_of(relation), phrasings_of(relation, Use.HELD_OUT)
    tested = known[:most_facts]
    worst = [
        worst_rank(model, tokenizer, phrasing.prompt(fact), fact.answer) for fact in tested for phrasing in phrasings
    ]
    return Recall(
        relation=relation,
        facts=len(tested),
        prompts=len(worst),
        first=float(np.mean([rank < 1 for rank in worst])),
        among_five=float(np.mean([rank < FEW for rank in worst])),
        baseline_first=baseline(tested, known, 1),
        baseline_among_five=baseline(tested, known, FEW),
    )
