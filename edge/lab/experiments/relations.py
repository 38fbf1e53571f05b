"""A2: heads that look at a token for what it is to another, and what copying costs without them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from edge.lab.claim import Experiment, Finding, Number, not_applicable
from edge.lab.context import LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.experiments.head_ablation import DRAWS, MAX_ABLATED, copying_nats, one_by_one, rank_correlation, together
from edge.lab.experiments.head_ablation import SEQUENCES as COPIED
from edge.lab.experiments.head_types import (
    ATTENTION_WATCH,
    HEAD_TYPES,
    LIST_TOKENS,
    TIMES,
    TYPE_SHARE,
    HeadTypeShares,
    repeated,
    roles,
)
from edge.lab.experiments.pattern_scores import MAX_WINDOWS, PassageScores, over_tokens, passage_scores
from edge.lab.experiments.patterns import head_grid, layer_patterns, uniform_pattern
from edge.lab.prompts import AGREEMENT, REFERENCE, Pair
from edge.lab.sample import SHARE, block_means, leave_one_out_best, mean_interval

BLOCK = 32
"""Neighboring tokens of the passage that make one unit of the sample."""


@dataclass(frozen=True)
class Scored:
    """One score of every head, and what a head of each layer would get that looks evenly."""

    heads: Float64[np.ndarray, "layer head"]
    even: Float64[np.ndarray, " layer"]

    def best(self, key: str, means: str) -> Number:
        """The highest score, beside even attention in the same layer."""
        layer = int(self.heads.max(axis=1).argmax())
        return Number(key, means, float(self.heads.max()), "share", float(self.even[layer]))


def related(lab: LabContext, pairs: Sequence[Pair]) -> Scored:
    """The attention from the last token of each pair's word to what it belongs to, in the first sentence."""
    heads, even = [], []
    for pair in pairs:
        word, belongs = (lab.tokenizer.places(pair.first, words) for words in (pair.word, pair.related))
        trace = lab.run(lab.tokenizer.encode(pair.first), watch=ATTENTION_WATCH)
        for layer, kind in enumerate(lab.spec.layers):
            heads.append(layer_patterns(trace, layer)[:, word[-1], belongs].sum(axis=-1))
            even.append(uniform_pattern(trace.n_fed, kind.window)[word[-1], belongs].sum())
    shape = (len(pairs), lab.spec.n_layers, -1)
    return Scored(
        np.reshape(heads, shape).mean(axis=0, dtype=np.float64),
        np.reshape(even, shape).mean(axis=(0, 2), dtype=np.float64),
    )


def effects(own: HeadTypeShares, looks: PassageScores) -> tuple[Effect, ...]:
    """The best head of two relations, each chosen where it is not measured."""
    sequences = own.of("induction")
    blocks = np.array(
        [block_means(column, BLOCK) for column in looks.heads.previous.reshape(len(looks.heads.previous), -1).T]
    ).T
    even = (float(own.even[0].max()), float(over_tokens(looks.even.previous).max()))
    kinds = (
        ("best_induction", "what the best head gives to what followed the same token earlier",
         leave_one_out_best(sequences.reshape(len(sequences), -1)), "sequences"),
        ("best_previous_token", "what the best head gives to the token before",
         leave_one_out_best(blocks), f"blocks of {BLOCK} tokens"),
    )  # fmt: skip
    return tuple(
        effect_of(
            mean_interval(values, SHARE),
            key=key,
            label=label,
            unit="share",
            threshold=TYPE_SHARE,
            threshold_reason="half of a head's attention, as Clark et al. 2019 ask; a head that looks evenly "
            f"gives {base:.1%}",
            sample_unit=of,
        )
        for (key, label, values, of), base in zip(kinds, even, strict=True)
    )


def _removal(inducers: float, by_chance: float) -> str:
    if np.isnan(inducers):
        return f"No set of heads above {TYPE_SHARE:.0%} could be removed beside as many others."
    return (
        f"Copying costs {inducers:.1f} nats more without all induction heads, {by_chance:.1f} without as many others."
    )


def measure(lab: LabContext) -> Finding:
    if len(set(repeated(lab)[0])) < 3:
        return not_applicable("a list of tokens does not fit the context four times; a longer one is needed")
    own, looks = lab.cached(roles), lab.cached(passage_scores)
    inducing, copies = (
        Scored(own.of(role).mean(axis=0), own.even[HEAD_TYPES.index(role)]) for role in ("induction", "duplicate token")
    )
    before, sinks = (
        Scored(over_tokens(heads), over_tokens(even))
        for heads, even in ((looks.heads.previous, looks.even.previous), (looks.heads.first, looks.even.first))
    )
    agreement, reference = (related(lab, pairs) for pairs in (AGREEMENT, REFERENCE))
    kinds, intact = (inducing, before, copies), copying_nats(lab)
    role = float((np.maximum.reduce([kind.heads for kind in kinds]) > TYPE_SHARE).mean())
    even_role = float((np.maximum.reduce([kind.even for kind in kinds]) > TYPE_SHARE).mean())
    cost = one_by_one(lab, intact, inducing.heads)
    tried = ~np.isnan(cost)
    ranked = rank_correlation(inducing.heads[tried], cost[tried])
    inducers, by_chance = together(lab, intact, inducing.heads > TYPE_SHARE)
    best = inducing.best("best_induction", "look at what followed the same token earlier")
    step = before.best("best_previous_token", "look at the token before")
    return Finding(
        f"One head gives {best.value:.0%} of its attention to what followed the same token earlier "
        f"({best.baseline:.0%} if it looked evenly), one {step.value:.0%} to the token before ({step.baseline:.0%}); "
        f"{role:.0%} of heads look mostly at such a relation. Taken one by one, induction score and cost of removal "
        f"are ranked alike by {ranked:.2f}. {_removal(inducers, by_chance)}",
        effects(own, looks),
        (
            best,
            step,
            copies.best("best_duplicate", "look at earlier copies of the token"),
            sinks.best("best_sink", "look at the first token"),
            agreement.best("best_agreement", "look from a verb at its subject, best of all heads on these sentences"),
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


def cost_tokens(lab: LabContext) -> int:
    lists = repeated(lab)
    removed = min(MAX_ABLATED, lab.spec.n_layers * lab.spec.n_heads)
    sentences = sum(len(lab.tokenizer.encode(pair.first)) for pair in (*AGREEMENT, *REFERENCE))
    return sum(map(len, lists)) + (removed + DRAWS + 2) * sum(map(len, lists[:COPIED])) + sentences


EXPERIMENT = Experiment(
    key="A2",
    title="attention relates pairs of tokens explicitly",
    question="Do heads look at tokens for what these are to the one that looks, and does copying need them?",
    method=f"{LIST_TOKENS} random tokens {TIMES} times over: induction `mean_i Σ_j p[i, j+1]` and duplicate "
    f"`mean_i Σ_j p[i, j]` over earlier copies j of token i; on {MAX_WINDOWS} windows of the passage at most, "
    "`mean_i p[i, i-1]` and `mean_i p[i, 0]`; in sentences, p from a word to what it belongs to. Of the effects the "
    "head is chosen on all other units of the sample. Baselines are the scores of a head that looks evenly at all it "
    f"sees. Heads are removed, {MAX_ABLATED} at most one at a time, half of them those with the highest "
    "induction score, "
    "and all induction heads at once beside as many others: by so many nats the mean cost of the second and later "
    "copies rises. Those others lie in any layer, so that a layer which as a whole cannot be spared is not told from "
    "its heads. Spearman's rank correlation compares score and cost.",
    rule=f"the best induction head and the best previous-token head each give more than {TYPE_SHARE:.0%} of their "
    "attention to that one relation",
    source="Olsson et al. 2022, arXiv 2209.11895, p. 60; Clark et al. 2019, arXiv 1906.04341, sections 3.1 and 5; "
    "TransformerLens, head_detector",
    cost_tokens=cost_tokens,
    measure=measure,
)
