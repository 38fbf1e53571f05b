"""A2: induction heads, previous-token heads and other relational heads, and the loss without induction heads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from edge.lab.claim import Experiment, Finding, Number, not_applicable
from edge.lab.context import LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.experiments.head_ablation import MAX_ABLATED, RANDOM_SETS, copying_nats, one_by_one, together
from edge.lab.experiments.head_ablation import SEQUENCES as COPIED
from edge.lab.experiments.head_types import (
    HEAD_TYPES,
    LIST_TOKENS,
    TIMES,
    TYPE_SHARE,
    HeadTypeShares,
    attention_watch,
    head_type_shares,
    repeated,
)
from edge.lab.experiments.pattern_scores import MAX_WINDOWS, PassageScores, over_tokens, passage_scores
from edge.lab.experiments.patterns import head_grid, layer_patterns, uniform_pattern
from edge.lab.prompts import AGREEMENT, REFERENCE, Pair
from edge.lab.sample import SHARE, block_means, leave_one_out_best, mean_interval
from edge.measure.correlation import rank_correlation
from edge.picture.units import show_measured

BLOCK = 32
"""Consecutive tokens of the passage that form one unit of the sample."""


@dataclass(frozen=True)
class Scored:
    """One score of every head, and the score of uniform attention in each layer."""

    heads: Float64[np.ndarray, "layer head"]
    uniform: Float64[np.ndarray, " layer"]

    def best(self, key: str, label: str) -> Number:
        """The highest score, with uniform attention in the same layer as baseline."""
        layer = int(self.heads.max(axis=1).argmax())
        return Number(key, label, float(self.heads.max()), "share", float(self.uniform[layer]))


def related(lab: LabContext, pairs: Sequence[Pair]) -> Scored:
    """The attention from the last token of each pair's word to its related word, in the first sentence."""
    heads, uniform = [], []
    for pair in pairs:
        word, target = (lab.tokenizer.places(pair.first, words) for words in (pair.word, pair.related))
        trace = lab.run(lab.tokenizer.encode(pair.first), watch=attention_watch(lab))
        for layer, kind in enumerate(lab.spec.attentions):
            heads.append(layer_patterns(trace, layer)[:, word[-1], target].sum(axis=-1))
            uniform.append(uniform_pattern(trace.n_fed, kind.window)[word[-1], target].sum())
    shape = (len(pairs), lab.spec.n_layers, -1)
    return Scored(
        np.reshape(heads, shape).mean(axis=0, dtype=np.float64),
        np.reshape(uniform, shape).mean(axis=(0, 2), dtype=np.float64),
    )


def effects(own: HeadTypeShares, passage: PassageScores) -> tuple[Effect, ...]:
    """The best induction head and the best previous-token head, chosen on other data than they are measured on."""
    sequences = own.of("induction")
    blocks = np.array(
        [block_means(column, BLOCK) for column in passage.heads.previous.reshape(len(passage.heads.previous), -1).T]
    ).T
    uniform = (float(own.uniform[0].max()), float(over_tokens(passage.uniform.previous).max()))
    kinds = (
        ("best_induction", "attention of the best induction head to its target, head chosen on other sequences",
         leave_one_out_best(sequences.reshape(len(sequences), -1)), "sequences"),
        ("best_previous_token", "attention of the best previous-token head to its target, head chosen on other tokens",
         leave_one_out_best(blocks), f"blocks of {BLOCK} tokens"),
    )  # fmt: skip
    return tuple(
        effect_of(
            mean_interval(values, SHARE),
            key=key,
            label=label,
            unit="share",
            threshold=TYPE_SHARE,
            threshold_reason=f"half of a head's attention, as in Clark et al. 2019; uniform attention gives {base:.1%}",
            sample_unit=of,
        )
        for (key, label, values, of), base in zip(kinds, uniform, strict=True)
    )


def _ablation_sentence(induction: float, by_chance: float) -> str:
    if np.isnan(induction):
        return f"There is no set of heads above {TYPE_SHARE:.0%} that could be compared with as many other heads."
    return (
        f"If all induction heads are ablated, the loss on repeated tokens increases by {induction:.1f} nats; if as "
        f"many other heads are ablated, by {by_chance:.1f} nats."
    )


def _ablation_numbers(ranked: float, all_induction: float, by_chance: float) -> tuple[Number, Number]:
    key, loss = "induction_ablation_rank_correlation", "loss increase on repeated tokens, all induction heads ablated"
    return (
        Number(key, "rank correlation of induction score and loss increase", ranked, "ratio", 0.0),
        Number("induction_heads_ablated_nats", loss, all_induction, "nats", by_chance),
    )


TYPED_HEADS = "induction, previous-token and duplicate-token heads"


def measure(lab: LabContext) -> Finding:
    if len(set(repeated(lab)[0])) < 3:
        return not_applicable(f"the context is too short for a list of tokens that is repeated {TIMES} times")
    own, passage = lab.cached(head_type_shares), lab.cached(passage_scores)
    induction, duplicate = (
        Scored(own.of(kind).mean(axis=0), own.uniform[HEAD_TYPES.index(kind)])
        for kind in ("induction", "duplicate token")
    )
    previous, sinks = (
        Scored(over_tokens(heads), over_tokens(uniform))
        for heads, uniform in (
            (passage.heads.previous, passage.uniform.previous),
            (passage.heads.first, passage.uniform.first),
        )
    )
    agreement, reference = (related(lab, pairs) for pairs in (AGREEMENT, REFERENCE))
    kinds, intact = (induction, previous, duplicate), copying_nats(lab)
    typed, uniform_typed = (
        float((np.maximum.reduce(scores) > TYPE_SHARE).mean())
        for scores in ([kind.heads for kind in kinds], [kind.uniform for kind in kinds])
    )
    increase = one_by_one(lab, intact, induction.heads)
    ablated = ~np.isnan(increase)
    ranked = rank_correlation(induction.heads[ablated], increase[ablated])
    all_induction, by_chance = together(lab, intact, induction.heads > TYPE_SHARE)
    best = induction.best("best_induction", "attention to its target, best induction head")
    before = previous.best("best_previous_token", "attention to its target, best previous-token head")
    return Finding(
        f"The best induction head puts {best.value:.0%} of its attention on its target (uniform attention: "
        f"{best.baseline:.0%}), the best previous-token head {before.value:.0%} ({before.baseline:.0%}). {typed:.0%} "
        "of heads are induction, previous-token or duplicate-token heads. When heads are ablated one at a time, the "
        f"rank correlation of induction score and loss increase is {show_measured(ranked, 'ratio')}. "
        f"{_ablation_sentence(all_induction, by_chance)}",
        effects(own, passage),
        (
            best,
            before,
            duplicate.best("best_duplicate", "attention to its target, best duplicate-token head"),
            sinks.best("best_sink", "attention to the first token, largest of all heads"),
            agreement.best("best_agreement", "attention from verb to subject, best head on the test sentences"),
            reference.best("best_reference", "attention from pronoun to antecedent, best head on the test sentences"),
            Number("typed_heads_share", TYPED_HEADS, typed, "share", uniform_typed),
            *_ablation_numbers(ranked, all_induction, by_chance),
        ),
        grids=(
            head_grid("induction score", "share", induction.heads),
            head_grid("loss increase on repeated tokens, one head ablated", "nats", increase),
        ),
    )


def cost_tokens(lab: LabContext) -> int:
    lists = repeated(lab)
    ablated = min(MAX_ABLATED, lab.spec.n_layers * lab.spec.n_heads)
    sentences = sum(len(lab.tokenizer.encode(pair.first)) for pair in (*AGREEMENT, *REFERENCE))
    return sum(map(len, lists)) + (ablated + RANDOM_SETS + 2) * sum(map(len, lists[:COPIED])) + sentences


EXPERIMENT = Experiment(
    key="A2",
    title="Attention relates pairs of tokens explicitly",
    question="Do some heads attend to a token because of its relation to the query, and does copying depend on them?",
    method=f"{LIST_TOKENS} random tokens are repeated {TIMES} times. Induction score: `mean_i Σ_j p[i, j+1]` over "
    f"earlier copies j of token i. Duplicate-token score: `mean_i Σ_j p[i, j]`. On at most {MAX_WINDOWS} windows of "
    "the passage: `mean_i p[i, i-1]` and `mean_i p[i, 0]`. On sentences: p from a word to the word it is related to. "
    "For the effects, the head is chosen on all other units of the sample. Baseline: uniform attention over all "
    f"visible keys. Ablation: at most {MAX_ABLATED} heads are ablated one at a time; half have the highest induction "
    "scores, half are random. Then all induction heads are ablated, or as many random other heads. The loss is the "
    "mean over the second and later copies. The random heads may be in any layer, so a layer that is needed as a whole "
    "is not distinguished from its heads. Rank correlation is Spearman's.",
    rule=f"The best induction head and the best previous-token head each put more than {TYPE_SHARE:.0%} of their "
    "attention on their target.",
    source="Olsson et al. 2022, arXiv 2209.11895, p. 60; Clark et al. 2019, arXiv 1906.04341, sections 3.1 and 5; "
    "TransformerLens, head_detector",
    cost_tokens=cost_tokens,
    measure=measure,
)
