"""A5: heads of one layer look at different things, each in its own way on every text, and copy what they read."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from edge.lab.claim import Curve, Experiment, Finding, Number, Verdict, layer_curve, not_applicable
from edge.lab.experiments.ov import lists, ov_scores
from edge.lab.experiments.patterns import even_pattern, halves_tokens, head_grid, layer_patterns, pairs_of_windows
from edge.lab.subject import Subject
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

CONSISTENT = 1.5
"""Times as far from another head as from itself on another text; no paper sets it, 1 is chance."""


Pairs = list[tuple[Trace, Trace]]


@dataclass(frozen=True)
class LayerHeads:
    """The heads of one layer over the passage.

    Attributes:
        divergence: Bits between two of them at the same tokens.
        itself: Bits between a head and itself at equal positions of two windows.
        other: Bits between a head and another one, likewise of two windows.
        sinks, positional: Shares of the layer's heads.
    """

    divergence: float
    itself: float
    other: float
    sinks: float
    positional: float


def mean_pair_bits(patterns: Float[np.ndarray, "head token past"]) -> float:
    """The divergence of two heads, the mean over all pairs of them."""
    heads = len(patterns)
    return float(pairwise_head_divergence(patterns).sum(dtype=np.float64) / (heads * (heads - 1)))


def across_bits(
    first: Float[np.ndarray, "head token past"], second: Float[np.ndarray, "head token past"]
) -> tuple[float, float]:
    """How far heads of one window are from themselves in another window, and from other heads there."""
    heads, _, past = first.shape

    def bits(turned: int) -> float:
        looks = [look[:, 1:].reshape(-1, past) for look in (first, np.roll(second, turned, axis=0))]
        return float(jensen_shannon_bits(*looks).mean(dtype=np.float64))

    return bits(0), float(np.mean([bits(turned) for turned in range(1, heads)[:OTHERS]]))


def layer_heads(pairs: Pairs, layer: int) -> LayerHeads:
    """What the heads of one layer do, each a mean over windows."""
    windows = [[layer_patterns(trace, layer) for trace in pair] for pair in pairs]
    looks, tokens = [look for pair in windows for look in pair], [min(t.n_fed for t in pair) for pair in pairs]
    cut = [[look[:, :n, :n] for look in pair] for pair, n in zip(windows, tokens, strict=True)]
    itself, other = np.mean([across_bits(*pair) for pair in cut], axis=0)
    return LayerHeads(
        divergence=float(np.mean([mean_pair_bits(look) for look in looks])),
        itself=float(itself),
        other=float(other),
        sinks=float(np.mean([sink_rate(look[:, :SINK_TOKENS, :SINK_TOKENS]) for look in looks])),
        positional=float(np.mean([positional_offset(look)[1] >= POSITIONAL for look in looks])),
    )


def even_shares(trace: Trace) -> tuple[float, float]:
    """Sinks and positional heads, were all heads to look evenly."""
    looks = [even_pattern(trace.n_fed, layer.reach) for layer in trace.spec.layers]
    sinks = np.mean([sink_rate(look[None, :SINK_TOKENS, :SINK_TOKENS]) for look in looks])
    return float(sinks), float(np.mean([positional_offset(look)[1] >= POSITIONAL for look in looks]))


def curves(layers: list[LayerHeads], scores: Float64[np.ndarray, "layer head"]) -> tuple[Curve, Curve]:
    """How far heads are apart, and the kinds of heads that there are."""
    apart = {
        "same text, another head": [layer.divergence for layer in layers],
        "another text, another head": [layer.other for layer in layers],
        "another text, the same head": [layer.itself for layer in layers],
    }
    kinds = {
        "copying": (scores > COPYING).mean(axis=1),
        "sink": [layer.sinks for layer in layers],
        "positional": [layer.positional for layer in layers],
    }
    return (
        layer_curve("how far heads are apart", "bits", apart, range(len(layers))),
        layer_curve("kinds of heads", "share of the layer's heads", kinds, range(len(layers))),
    )


def measure(subject: Subject) -> Finding:
    pairs = pairs_of_windows(subject)[:PAIRS]
    if subject.spec.n_heads < 2 or not pairs:
        return not_applicable(
            "heads are compared with others and over two windows: two heads and a longer text are needed"
        )
    layers = [layer_heads(pairs, layer) for layer in range(subject.spec.n_layers)]
    scores, by_chance = ov_scores(subject), ov_scores(subject, shuffled=True)
    divergence, itself, other, sinks, positional = (
        float(np.mean([getattr(layer, name) for layer in layers])) for name in LayerHeads.__dataclass_fields__
    )
    copies, chance = float((scores > COPYING).mean()), float((by_chance > COPYING).mean())
    even_sinks, even_positional = even_shares(pairs[0][0])
    return Finding(
        Verdict.HOLDS if other > CONSISTENT * itself else Verdict.FAILS,
        f"Two heads of a layer look {divergence:.2f} bits apart at the same tokens. From one text to another a head "
        f"is {itself:.2f} bits from itself and {other:.2f} from other heads. {copies:.0%} of heads raise the token "
        f"that they read more than all the rest (mean score {scores.mean():.2f}, best {scores.max():.2f}, "
        f"by chance {by_chance.mean():.2f}); {positional:.0%} look at one distance, {sinks:.0%} rest on the first "
        "token.",
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
        curves=curves(layers, scores),
        grids=(head_grid("copying score", "ratio", scores),),
    )


def cost_tokens(subject: Subject) -> int:
    return halves_tokens(subject) + 2 * sum(len(ids) for ids in lists(subject))


EXPERIMENT = Experiment(
    key="A5",
    claim="heads specialise",
    asks="Do the heads of a layer look at different things, each in its own way whatever the text? Do they copy?",
    how="Jensen-Shannon divergence of each two heads of a layer at the same tokens, mean over pairs, queries and "
    "windows; 0 is heads that do the same. Then, at equal positions of two windows, of each head and others, beside "
    "each head and itself: were heads alike, also in how they change with the text, both would be equal. Copying: "
    "`2 Σ r_jj / Σ r_jk - 1`, r being what reading token j in full adds to the logit of token k of a random list, "
    f"above the mean, a head counting above {COPYING:g}; the baseline aims at another token of the list. Sinks: mean "
    f"p[i, 0] above 0.3 over {SINK_TOKENS} tokens. Positional: {POSITIONAL:.0%} of queries look most at one distance.",
    rule=f"from one text to another a head is more than {CONSISTENT} times as far from other heads as from itself",
    source="Clark et al. 2019, arXiv 1906.04341, section 6; Olsson et al. 2022, arXiv 2209.11895, p. 60; Gu et al. "
    "2024, arXiv 2410.10781; Voita et al. 2019, arXiv 1905.09418",
    cost_tokens=cost_tokens,
    measure=measure,
)
