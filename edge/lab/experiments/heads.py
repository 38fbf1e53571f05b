"""A2: heads that look at a token for what it is to another, and what copying costs without them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from edge.lab.claim import Experiment, Finding, Number, Verdict, not_applicable
from edge.lab.experiments.patterns import even_pattern, head_grid, layer_patterns
from edge.lab.experiments.removal import (
    DRAWS,
    LIST_TOKENS,
    REMOVED,
    TIMES,
    copying_nats,
    one_by_one,
    rank_correlation,
    repeated,
    together,
)
from edge.lab.prompts import AGREEMENT, REFERENCE, Pair
from edge.lab.subject import Subject
from edge.measure.attention import first_token_share, prefix_matching
from edge.measure.heads import detection_share, duplicate_token_mask, previous_token_score
from edge.trace import Trace
from edge.watch import Watch

ROLE_SHARE = 0.5
"""Of a head's attention, for it to have a role: what Clark et al. 2019 (section 3.1) ask of a previous-token head."""

LOOKING = Watch(parts=("attn.query", "attn.key"))

Score = Callable[[Float[np.ndarray, "*head token past"], Trace], Float[np.ndarray, "*head"]]


@dataclass(frozen=True)
class Scored:
    """One score of every head, and what a head of each layer would get that looks evenly."""

    heads: Float64[np.ndarray, "layer head"]
    even: Float64[np.ndarray, " layer"]

    def best(self, key: str, means: str) -> Number:
        """The highest score, beside even attention in the same layer."""
        layer = int(self.heads.max(axis=1).argmax())
        return Number(key, means, float(self.heads.max()), "share", float(self.even[layer]))


def scored(subject: Subject, traces: Sequence[Trace], score: Score) -> Scored:
    """The mean of a score over some runs."""
    heads, even = [], []
    for layer, kind in enumerate(subject.spec.layers):
        subject.check()
        heads.append(np.mean([score(layer_patterns(trace, layer), trace) for trace in traces], axis=0))
        even.append(np.mean([score(even_pattern(trace.n_fed, kind.reach), trace) for trace in traces]))
    return Scored(np.array(heads, np.float64), np.array(even, np.float64))


def induction(pattern: Float[np.ndarray, "*head token past"], trace: Trace) -> Float[np.ndarray, "*head"]:
    return prefix_matching(pattern, np.array(trace.tokens))


def duplicate(pattern: Float[np.ndarray, "*head token past"], trace: Trace) -> Float[np.ndarray, "*head"]:
    """The share that tokens which stood before give to their earlier copies."""
    mask = duplicate_token_mask(np.array(trace.tokens))
    return np.asarray(detection_share(pattern, mask) / mask.any(axis=-1).mean())


def previous(pattern: Float[np.ndarray, "*head token past"], trace: Trace) -> Float[np.ndarray, "*head"]:
    return previous_token_score(pattern)


def sink(pattern: Float[np.ndarray, "*head token past"], trace: Trace) -> Float[np.ndarray, "*head"]:
    return np.asarray(first_token_share(pattern).mean(axis=-1))


def between(word: int, belongs: tuple[int, ...]) -> Score:
    """The share that one token gives to some others."""
    return lambda pattern, trace: np.asarray(pattern[..., word, belongs].sum(axis=-1))


def related(subject: Subject, pairs: Sequence[Pair]) -> Scored:
    """The attention from the last token of each pair's word to what it belongs to, in the first sentence."""
    found = []
    for pair in pairs:
        word, belongs = (subject.tokenizer.places(pair.first, words) for words in (pair.word, pair.related))
        trace = subject.see(subject.tokenizer.encode(pair.first), watch=LOOKING)
        found.append(scored(subject, [trace], between(word[-1], belongs)))
    return Scored(np.mean([one.heads for one in found], axis=0), np.mean([one.even for one in found], axis=0))


def _removal(inducers: float, by_chance: float) -> str:
    if np.isnan(inducers):
        return f"No set of heads above {ROLE_SHARE:.0%} could be removed beside as many others."
    return (
        f"Copying costs {inducers:.1f} nats more without all induction heads, {by_chance:.1f} without as many others."
    )


def measure(subject: Subject) -> Finding:
    lists = repeated(subject)
    if len(set(lists[0])) < 3:
        return not_applicable("a list of tokens does not fit the context four times; a longer one is needed")
    random = [subject.see(ids, watch=LOOKING) for ids in lists]
    inducing, copies = scored(subject, random, induction), scored(subject, random, duplicate)
    before, sinks = (scored(subject, subject.traces, score) for score in (previous, sink))
    agreement, reference = (related(subject, pairs) for pairs in (AGREEMENT, REFERENCE))
    kinds, intact = (inducing, before, copies), copying_nats(subject)
    role = float((np.maximum.reduce([kind.heads for kind in kinds]) > ROLE_SHARE).mean())
    even_role = float((np.maximum.reduce([kind.even for kind in kinds]) > ROLE_SHARE).mean())
    cost = one_by_one(subject, intact)
    tried = ~np.isnan(cost)
    ranked = rank_correlation(inducing.heads[tried], cost[tried])
    inducers, by_chance = together(subject, intact, inducing.heads > ROLE_SHARE)
    best = inducing.best("best_induction", "look at what followed the same token earlier")
    step = before.best("best_previous_token", "look at the token before")
    verb = agreement.best("best_agreement", "look from a verb at its subject, best of all heads on these sentences")
    holds = min(best.value, step.value) > ROLE_SHARE
    return Finding(
        Verdict.HOLDS if holds else Verdict.FAILS,
        f"One head gives {best.value:.0%} of its attention to what followed the same token earlier "
        f"({best.baseline:.0%} if it looked evenly), one {step.value:.0%} to the token before ({step.baseline:.0%}); "
        f"{role:.0%} of heads look mostly at such a relation. Taken one by one, induction score and cost of removal "
        f"are ranked alike by {ranked:.2f}. {_removal(inducers, by_chance)}",
        (
            best,
            step,
            copies.best("best_duplicate", "look at earlier copies of the token"),
            sinks.best("best_sink", "look at the first token"),
            verb,
            reference.best("best_reference", "look from a pronoun at whom it means, likewise"),
            Number("heads_with_a_role_share", "heads that look mostly at one such relation", role, "share", even_role),
            Number("induction_knockout_rank_correlation", "induction score and cost of removal", ranked, "ratio", 0.0),
            Number("induction_heads_removed_nats", "copying without all induction heads", inducers, "nats", by_chance),
        ),
        grids=(
            head_grid("induction score", "share", inducing.heads),
            head_grid("what copying costs without the head", "nats", cost),
        ),
    )


def cost_tokens(subject: Subject) -> int:
    removed = min(REMOVED, subject.spec.n_layers * subject.spec.n_heads)
    sentences = sum(len(subject.tokenizer.encode(pair.first)) for pair in (*AGREEMENT, *REFERENCE))
    return (removed + DRAWS + 3) * sum(len(ids) for ids in repeated(subject)) + sentences


EXPERIMENT = Experiment(
    key="A2",
    claim="attention relates pairs of tokens explicitly",
    asks="Do heads look at tokens for what these are to the one that looks, and does copying need them?",
    how=f"{LIST_TOKENS} random tokens {TIMES} times over: induction `mean_i Σ_j p[i, j+1]` and duplicate "
    "`mean_i Σ_j p[i, j]` over earlier copies j of token i; on the passage, `mean_i p[i, i-1]` and `mean_i p[i, 0]`; "
    "in sentences, p from a word to what it belongs to. Baselines are the scores of a head that looks evenly at all it "
    "sees. Heads are removed, one at a time and all induction heads at once beside as many others: by so many nats the "
    "mean cost of the second and later copies rises. Those others lie in any layer, so that a layer which as a whole "
    "cannot be spared is not told from its heads. Spearman's rank correlation compares score and cost.",
    rule=f"the best induction head and the best previous-token head each give more than {ROLE_SHARE:.0%} of their "
    "attention to that one relation; the other numbers have no part in it",
    source="Olsson et al. 2022, arXiv 2209.11895, p. 60; Clark et al. 2019, arXiv 1906.04341, sections 3.1 and 5; "
    "TransformerLens, head_detector",
    cost_tokens=cost_tokens,
    measure=measure,
)
