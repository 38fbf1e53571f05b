"""A5: heads of one layer look at different things, each in its own way on every text, and copy what they read."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from edge.lab.claim import Curve, Experiment, Finding, Number, layer_curve, not_applicable
from edge.lab.context import LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.experiments.head_types import HEAD_TYPES, TYPE_SHARE, HeadTypeShares, repeated, roles
from edge.lab.experiments.ov_copying import lists, ov_scores
from edge.lab.experiments.patterns import halves_tokens, head_grid, layer_patterns, pairs_of_windows, uniform_pattern
from edge.lab.sample import SHARE, evenly_spaced, leave_one_out_best, mean_interval
from edge.measure.divergence import jensen_shannon_bits, pairwise_head_divergence
from edge.measure.heads import positional_offset, sink_rate
from edge.trace import Trace

PAIRS = 2
"""Pairs of windows of the passage, each window once."""

OTHERS = 7
"""Other heads that each head is compared with across windows, at most."""

SINK_TOKENS = 64  # Gu et al. 2024; the share of sinks depends on the length

POSITIONAL = 0.9
"""Of queries that look most at one distance, for a head to be positional (Voita et al. 2019)."""

COPYING = 0.0
"""A head copies when it raises the token that it reads more than all others of the list together; chance is near -1."""

MAX_LAYERS = 12
"""Layers whose heads are compared, spread evenly where a decoder has more."""

EVERY = 4
"""Of the queries, those that are compared across windows."""

MIN_GAP_BITS = 1e-9
"""By which a head must be nearer to itself than to others: equal heads are recognized by nobody."""


Pairs = list[tuple[Trace, Trace]]


@dataclass(frozen=True)
class LayerHeads:
    """The heads of one layer over the passage.

    Attributes:
        divergence: Bits between two of them at the same tokens.
        itself: Bits between a head and itself at equal positions of two windows.
        other: Bits between a head and another one, likewise of two windows.
        recognized: Of each head and pair of windows, whether it is nearest to itself on the other window.
        sinks, positional: Shares of the layer's heads.
    """

    divergence: float
    itself: float
    other: float
    recognized: Bool[np.ndarray, " tried"]
    sinks: float
    positional: float


def mean_pair_bits(patterns: Float[np.ndarray, "head token past"]) -> float:
    """The divergence of two heads, the mean over all pairs of them."""
    heads = len(patterns)
    return float(pairwise_head_divergence(patterns).sum(dtype=np.float64) / (heads * (heads - 1)))


def across_bits(
    first: Float[np.ndarray, "head token past"], second: Float[np.ndarray, "head token past"]
) -> Float64[np.ndarray, "turn head"]:
    """How far each head of one window is from itself in another window, then from other heads there."""
    heads, _, past = first.shape

    def bits(turned: int) -> Float64[np.ndarray, " head"]:
        looks = [look[:, 1::EVERY].reshape(-1, past) for look in (first, np.roll(second, turned, axis=0))]
        return np.asarray(jensen_shannon_bits(*looks).reshape(heads, -1).mean(axis=1, dtype=np.float64))

    return np.array([bits(turned) for turned in (0, *range(1, heads)[:OTHERS])])


def recognized(bits: Float64[np.ndarray, "turn head"]) -> Bool[np.ndarray, " head"]:
    """Heads that are nearer to themselves than to every other one."""
    return np.asarray(bits[0] < bits[1:].min(axis=0) - MIN_GAP_BITS)


def layer_heads(pairs: Pairs, layer: int) -> LayerHeads:
    """What the heads of one layer do, each a mean over windows."""
    windows = [[layer_patterns(trace, layer) for trace in pair] for pair in pairs]
    looks, tokens = [look for pair in windows for look in pair], [min(t.n_fed for t in pair) for pair in pairs]
    cut = [[look[:, :n, :n] for look in pair] for pair, n in zip(windows, tokens, strict=True)]
    across = [across_bits(*pair) for pair in cut]
    return LayerHeads(
        divergence=float(np.mean([mean_pair_bits(look) for look in looks])),
        itself=float(np.mean([bits[0] for bits in across])),
        other=float(np.mean([bits[1:] for bits in across])),
        recognized=np.concatenate([recognized(bits) for bits in across]),
        sinks=float(np.mean([sink_rate(look[:, :SINK_TOKENS, :SINK_TOKENS]) for look in looks])),
        positional=float(np.mean([positional_offset(look)[1] >= POSITIONAL for look in looks])),
    )


def uniform_shares(trace: Trace) -> tuple[float, float]:
    """Sinks and positional heads, were all heads to look evenly."""
    looks = [uniform_pattern(trace.n_fed, layer.window) for layer in trace.spec.layers]
    sinks = np.mean([sink_rate(look[None, :SINK_TOKENS, :SINK_TOKENS]) for look in looks])
    return float(sinks), float(np.mean([positional_offset(look)[1] >= POSITIONAL for look in looks]))


def effects(layers: list[LayerHeads], own: HeadTypeShares) -> tuple[Effect, ...]:
    """Whether heads are the same on another text, and whether one of them is given to one relation."""
    compared = 1 + min(OTHERS, own.heads.shape[-1] - 1)
    sequences = len(own.heads)
    beyond = own.heads - np.median(own.heads, axis=(2, 3), keepdims=True)
    return (
        effect_of(
            mean_interval(np.concatenate([layer.recognized for layer in layers]).astype(np.float64), SHARE),
            key="recognised_share",
            label="heads that are nearest to themselves on another text",
            unit="share",
            threshold=1 / compared,
            threshold_reason=f"chance: one in {compared}, were heads drawn anew on each text",
            sample_unit="heads",
        ),
        effect_of(
            mean_interval(leave_one_out_best(beyond.reshape(sequences, -1)), SHARE),
            key="given_to_one_relation",
            label="what the most specialised head gives to one relation, less what the median head gives to it",
            unit="share",
            threshold=TYPE_SHARE,
            threshold_reason="half of a head's attention, as Clark et al. 2019 ask",
            sample_unit="sequences",
        ),
    )


def curves(layers: list[LayerHeads], places: list[int], scores: Float64[np.ndarray, "layer head"]) -> tuple[Curve, ...]:
    """How far heads are apart, and the kinds of heads that there are."""
    apart = {
        "same text, another head": [layer.divergence for layer in layers],
        "another text, another head": [layer.other for layer in layers],
        "another text, the same head": [layer.itself for layer in layers],
    }
    kinds = {
        "copying": (scores > COPYING).mean(axis=1)[places],
        "sink": [layer.sinks for layer in layers],
        "positional": [layer.positional for layer in layers],
    }
    return (
        layer_curve("how far heads are apart", "bits", apart, places),
        layer_curve("kinds of heads", "share of the layer's heads", kinds, places),
    )


def measure(lab: LabContext) -> Finding:
    pairs = pairs_of_windows(lab)[:PAIRS]
    if lab.spec.n_heads < 2 or not pairs or len(set(repeated(lab)[0])) < 3:
        return not_applicable(
            "heads are compared with others and over two windows: two heads and a longer text are needed"
        )
    places = evenly_spaced(lab.spec.n_layers, MAX_LAYERS)
    layers, own = [layer_heads(pairs, layer) for layer in places], lab.cached(roles)
    scores, by_chance = ov_scores(lab), ov_scores(lab, shuffled=True)
    divergence, itself, other, sinks, positional = (
        float(np.mean([getattr(layer, name) for layer in layers]))
        for name in ("divergence", "itself", "other", "sinks", "positional")
    )
    known = float(np.mean(np.concatenate([layer.recognized for layer in layers])))
    copies, chance = float((scores > COPYING).mean()), float((by_chance > COPYING).mean())
    even_sinks, even_positional = uniform_shares(pairs[0][0])
    role, _, _ = np.unravel_index(own.heads.mean(axis=0).argmax(), own.heads.shape[1:])
    return Finding(
        f"{known:.0%} of heads are nearest to themselves on another text: {itself:.2f} bits from themselves and "
        f"{other:.2f} from other heads of their layer. The most specialised head gives "
        f"{own.heads[:, role].mean(axis=0).max():.0%} of its attention to one relation, '{HEAD_TYPES[int(role)]}', the "
        f"median head {float(np.median(own.heads[:, role])):.0%}. {copies:.0%} of heads raise the token that they read "
        f"more than all the rest (mean score {scores.mean():.2f}, best {scores.max():.2f}, by chance "
        f"{by_chance.mean():.2f}); {positional:.0%} look at one distance, {sinks:.0%} rest on the first token.",
        effects(layers, own),
        (
            Number("head_divergence_bits", "two heads of a layer, at the same tokens", divergence, "bits", 0.0),
            Number("other_head_divergence_bits", "a head and others, on another text", other, "bits", itself),
            Number("copying_heads_share", "raise the token that they read", copies, "share", chance),
            Number(
                "mean_copying_score", "-1 to 1, over all heads", float(scores.mean()), "ratio", float(by_chance.mean())
            ),
            Number(
                "best_copying_score", "the highest of all heads", float(scores.max()), "ratio", float(by_chance.max())
            ),
            Number("sink_heads_share", "rest on the first token", sinks, "share", even_sinks),
            Number("positional_heads_share", "look at one distance", positional, "share", even_positional),
        ),
        curves=curves(layers, places, scores),
        grids=(head_grid("copying score", "ratio", scores),),
    )


def cost_tokens(lab: LabContext) -> int:
    scored = sum(map(len, repeated(lab)))
    return halves_tokens(lab) + scored + 2 * sum(len(ids) for ids in lists(lab))


EXPERIMENT = Experiment(
    key="A5",
    title="heads specialise",
    question="Do the heads of a layer look at different things, each in its own way whatever the text? Do they copy?",
    method="At equal positions of two windows, the Jensen-Shannon divergence of each head and itself, and of each head "
    f"and {OTHERS} others of its layer at most; a head is recognized where it is nearest to itself. Relations: "
    "induction, the token before and earlier copies of the token, on random tokens that come again (A2); of the "
    "effect, head and relation are chosen on all other sequences. Beside them the divergence of each two heads of a "
    "layer at the same tokens. Copying: `2 Σ r_jj / Σ r_jk - 1`, r being what reading token j in full adds to the "
    f"logit of token k of a random list, above the mean, a head counting above {COPYING:g}; the baseline aims at "
    f"another token of the list. Sinks: mean p[i, 0] above 0.3 over {SINK_TOKENS} tokens. Positional: "
    f"{POSITIONAL:.0%} of queries look most at one distance. {MAX_LAYERS} layers at most, but for relations and "
    "copying.",
    rule=f"more heads than by chance are recognized on another text, and one head gives more than {TYPE_SHARE:.0%} "
    "of its attention to one relation beyond what the median head gives to it",
    source="Clark et al. 2019, arXiv 1906.04341, section 6; Olsson et al. 2022, arXiv 2209.11895, p. 60; Gu et al. "
    "2024, arXiv 2410.10781; Voita et al. 2019, arXiv 1905.09418",
    cost_tokens=cost_tokens,
    measure=measure,
)
