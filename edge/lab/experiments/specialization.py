"""A5: consistency of heads across texts, specialization, and copying, attention-sink and positional heads."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from edge.lab.claim import Curve, Experiment, Finding, Number, layer_curve, not_applicable
from edge.lab.context import LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.experiments.head_types import HEAD_TYPES, TYPE_SHARE, HeadTypeShares, head_type_shares, repeated
from edge.lab.experiments.ov_copying import lists, ov_scores
from edge.lab.experiments.patterns import halves_tokens, head_grid, layer_patterns, pairs_of_windows, uniform_pattern
from edge.lab.sample import SHARE, evenly_spaced, leave_one_out_best, mean_interval
from edge.measure.divergence import jensen_shannon_bits, pairwise_head_divergence
from edge.measure.heads import positional_offset, sink_rate
from edge.picture.units import show_measured
from edge.trace import Trace

PAIRS = 2
"""Pairs of windows of the passage, each window once."""

OTHERS = 7
"""Maximum number of other heads that each head is compared with across windows."""

SINK_TOKENS = 64  # Gu et al. 2024; the sink rate depends on the length

POSITIONAL = 0.9
"""A head is positional if this share of its queries attends most to the same distance (Voita et al. 2019)."""

COPYING = 0.0
"""A head copies if it raises the token it attends to more than all others of the list together; chance is near -1."""

MAX_LAYERS = 12
"""Layers whose heads are compared, evenly spaced if a decoder has more."""

EVERY = 4
"""One of this many queries is compared across windows."""

MIN_GAP_BITS = 1e-9
"""A head must be more similar to itself than to others by this much; two equal heads are not consistent."""


Pairs = list[tuple[Trace, Trace]]


@dataclass(frozen=True)
class LayerHeads:
    """The heads of one layer over the passage.

    Attributes:
        divergence: Divergence of two heads at the same tokens, in bits.
        itself: Divergence of a head and itself at the same positions of two windows, in bits.
        other: Divergence of a head and another head at the same positions of two windows, in bits.
        consistent: For each head and pair of windows, whether the most similar head on the other window is itself.
        sinks, positional: Shares of attention-sink heads and of positional heads.
    """

    divergence: float
    itself: float
    other: float
    consistent: Bool[np.ndarray, " head_pair"]
    sinks: float
    positional: float


def mean_pair_bits(patterns: Float[np.ndarray, "head token past"]) -> float:
    """The mean divergence over all pairs of heads, in bits."""
    heads = len(patterns)
    return float(pairwise_head_divergence(patterns).sum(dtype=np.float64) / (heads * (heads - 1)))


def across_bits(
    first: Float[np.ndarray, "head token past"], second: Float[np.ndarray, "head token past"]
) -> Float64[np.ndarray, "shift head"]:
    """The divergence, in bits, of each head and itself in another window, then of each head and other heads there."""
    heads, _, past = first.shape

    def bits(shift: int) -> Float64[np.ndarray, " head"]:
        rows = [pattern[:, 1::EVERY].reshape(-1, past) for pattern in (first, np.roll(second, shift, axis=0))]
        return np.asarray(jensen_shannon_bits(*rows).reshape(heads, -1).mean(axis=1, dtype=np.float64))

    return np.array([bits(shift) for shift in (0, *range(1, heads)[:OTHERS])])


def consistent(bits: Float64[np.ndarray, "shift head"]) -> Bool[np.ndarray, " head"]:
    """Heads that are more similar to themselves than to every other head."""
    return np.asarray(bits[0] < bits[1:].min(axis=0) - MIN_GAP_BITS)


def layer_heads(pairs: Pairs, layer: int) -> LayerHeads:
    """The heads of one layer; numbers are means over windows."""
    windows = [[layer_patterns(trace, layer) for trace in pair] for pair in pairs]
    patterns, tokens = [pattern for pair in windows for pattern in pair], [min(t.n_fed for t in pair) for pair in pairs]
    cut = [[pattern[:, :n, :n] for pattern in pair] for pair, n in zip(windows, tokens, strict=True)]
    across = [across_bits(*pair) for pair in cut]
    return LayerHeads(
        divergence=float(np.mean([mean_pair_bits(pattern) for pattern in patterns])),
        itself=float(np.mean([bits[0] for bits in across])),
        other=float(np.mean([bits[1:] for bits in across])),
        consistent=np.concatenate([consistent(bits) for bits in across]),
        sinks=float(np.mean([sink_rate(pattern[:, :SINK_TOKENS, :SINK_TOKENS]) for pattern in patterns])),
        positional=float(np.mean([positional_offset(pattern)[1] >= POSITIONAL for pattern in patterns])),
    )


def uniform_shares(trace: Trace) -> tuple[float, float]:
    """The shares of attention-sink heads and of positional heads under uniform attention."""
    patterns = [uniform_pattern(trace.n_fed, attention.window) for attention in trace.spec.attentions]
    sinks = np.mean([sink_rate(pattern[None, :SINK_TOKENS, :SINK_TOKENS]) for pattern in patterns])
    return float(sinks), float(np.mean([positional_offset(pattern)[1] >= POSITIONAL for pattern in patterns]))


def effects(layers: list[LayerHeads], own: HeadTypeShares) -> tuple[Effect, ...]:
    """The share of consistent heads, and the attention of the most specialized head to its target."""
    compared = 1 + min(OTHERS, own.heads.shape[-1] - 1)
    sequences = len(own.heads)
    beyond = own.heads - np.median(own.heads, axis=(2, 3), keepdims=True)
    return (
        effect_of(
            mean_interval(np.concatenate([layer.consistent for layer in layers]).astype(np.float64), SHARE),
            key="consistent_share",
            label="share of heads that are most similar to themselves on another text (consistent)",
            unit="share",
            threshold=1 / compared,
            threshold_reason=f"chance: one in {compared}, with random heads on each text",
            sample_unit="heads",
        ),
        effect_of(
            mean_interval(leave_one_out_best(beyond.reshape(sequences, -1)), SHARE),
            key="specialized_share",
            label="attention of the most specialized head to its target, minus that of the median head",
            unit="share_difference",
            threshold=TYPE_SHARE,
            threshold_reason="half of a head's attention, as in Clark et al. 2019",
            sample_unit="sequences",
        ),
    )


def curves(layers: list[LayerHeads], places: list[int], scores: Float64[np.ndarray, "layer head"]) -> tuple[Curve, ...]:
    """The divergence of heads, and the shares of copying, attention-sink and positional heads."""
    divergence = {
        "same text, another head": [layer.divergence for layer in layers],
        "another text, another head": [layer.other for layer in layers],
        "another text, the same head": [layer.itself for layer in layers],
    }
    kinds = {
        "copying": (scores > COPYING).mean(axis=1)[places],
        "attention sink": [layer.sinks for layer in layers],
        "positional": [layer.positional for layer in layers],
    }
    return (
        layer_curve("divergence of heads", "bits", divergence, places),
        layer_curve("copying, attention-sink and positional heads", "share of the layer's heads", kinds, places),
    )


def measure(lab: LabContext) -> Finding:
    pairs = pairs_of_windows(lab)[:PAIRS]
    if lab.spec.n_heads < 2 or not pairs or len(set(repeated(lab)[0])) < 3:
        return not_applicable("the comparison needs at least two heads and a longer text, with two windows")
    places = evenly_spaced(lab.spec.n_layers, MAX_LAYERS)
    layers, own = [layer_heads(pairs, layer) for layer in places], lab.cached(head_type_shares)
    scores, by_chance = ov_scores(lab), ov_scores(lab, shuffled=True)
    divergence, itself, other, sinks, positional = (
        float(np.mean([getattr(layer, name) for layer in layers]))
        for name in ("divergence", "itself", "other", "sinks", "positional")
    )
    same = float(np.mean(np.concatenate([layer.consistent for layer in layers])))
    copies, chance = float((scores > COPYING).mean()), float((by_chance > COPYING).mean())
    uniform_sinks, uniform_positional = uniform_shares(pairs[0][0])
    kind, _, _ = np.unravel_index(own.heads.mean(axis=0).argmax(), own.heads.shape[1:])
    return Finding(
        f"{same:.0%} of heads are most similar to themselves on another text: the mean divergence is {itself:.2f} bits "
        f"from themselves, and {other:.2f} bits from other heads of their layer. The most specialized head "
        f"({HEAD_TYPES[int(kind)]}) gives {own.heads[:, kind].mean(axis=0).max():.1%} of its attention to its target, "
        f"the median head {float(np.median(own.heads[:, kind])):.1%}. {copies:.0%} of heads copy the token that they "
        f"attend to (copying score: mean {show_measured(scores.mean(), 'ratio')}, "
        f"best {show_measured(scores.max(), 'ratio')}, chance {show_measured(by_chance.mean(), 'ratio')}). "
        f"{positional:.0%} are positional heads, {sinks:.0%} are attention-sink heads.",
        effects(layers, own),
        (
            Number("head_divergence_bits", "divergence of two heads of a layer, same tokens", divergence, "bits", 0.0),
            Number(
                "other_head_divergence_bits", "divergence of a head and others, another text", other, "bits", itself
            ),
            Number("copying_heads_share", "copying heads", copies, "share", chance),
            Number(
                "mean_copying_score",
                "mean copying score, -1 to 1",
                float(scores.mean()),
                "ratio",
                float(by_chance.mean()),
            ),
            Number("best_copying_score", "best copying score", float(scores.max()), "ratio", float(by_chance.max())),
            Number("sink_heads_share", "attention-sink heads (first token)", sinks, "share", uniform_sinks),
            Number("positional_heads_share", "positional heads", positional, "share", uniform_positional),
        ),
        curves=curves(layers, places, scores),
        grids=(head_grid("copying score", "ratio", scores),),
    )


def cost_tokens(lab: LabContext) -> int:
    scored = sum(map(len, repeated(lab)))
    return halves_tokens(lab) + scored + 2 * sum(len(ids) for ids in lists(lab))


EXPERIMENT = Experiment(
    key="A5",
    title="Heads specialize",
    question="Does each head of a layer keep its own attention pattern across texts, and do heads copy the tokens that "
    "they attend to?",
    method="Consistency: at the same positions of two windows, the Jensen-Shannon divergence of each head and itself, "
    f"and of each head and at most {OTHERS} others of its layer. A head is consistent if it is most similar to itself. "
    "Head types: induction, previous token and duplicate token, on repeated random tokens (A2). For the effect, head "
    "and type are chosen on all other sequences. The divergence of two heads of a layer is that at the same tokens. "
    "Copying score: `2 Σ r_jj / Σ r_jk - 1`. Attention with weight 1 to token j changes the logit of token k of a "
    "random list by r_jk, relative to the mean over k; only increases count. A head copies if its score is above "
    f"{COPYING:g}; the baseline is the score for another token of the list. Attention sink: mean p[i, 0] above 0.3 "
    f"over {SINK_TOKENS} tokens. Positional: {POSITIONAL:.0%} of queries attend most to the same distance. At most "
    f"{MAX_LAYERS} layers, except for head types and copying.",
    rule="The share of heads that are consistent across texts is above chance. The attention of the most specialized "
    f"head to its target exceeds that of the median head by more than {100 * TYPE_SHARE:.0f} "
    "percentage points.",
    source="Clark et al. 2019, arXiv 1906.04341, section 6; Olsson et al. 2022, arXiv 2209.11895, p. 60; Gu et al. "
    "2024, arXiv 2410.10781; Voita et al. 2019, arXiv 1905.09418",
    cost_tokens=cost_tokens,
    measure=measure,
)
