"""A1: what a head writes is a sum of values, weighted by a pattern that moves with the text."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from edge.lab.claim import Experiment, Finding, Number, layer_curve, not_applicable
from edge.lab.context import LabContext
from edge.lab.effect import Effect, Side, effect_of
from edge.lab.experiments.patterns import halves_tokens, layer_patterns, pairs_of_windows, read_values
from edge.lab.sample import block_means, evenly_spaced, jackknife, mean_interval
from edge.measure.divergence import jensen_shannon_bits
from edge.measure.linearity import r2_of, squared_errors
from edge.trace import Trace
from models.sites import layer_site

PAIRS = 3
"""Pairs of windows that are compared, each window once: patterns of more tell the same and take their time."""

UNEXPLAINED = 0.001
"""Of the variance: the formula has no free number, so that only rounding leaves any; half precision 1e-4 or less."""

MOVED_BITS = 0.01
"""No paper sets it. Fixed weights move by 0, rounding moves them by 1e-6; looks without a common key are 1 apart."""

MAX_LAYERS = 8
"""Layers that are summed up, spread evenly where a decoder has more."""

BLOCK = 16
"""Neighboring tokens that make one unit of the sample."""


@dataclass(frozen=True)
class LayerSum:
    """One layer over some pairs of windows, token by token.

    Attributes:
        own: `squared_errors` of `attn.heads` by the heads' own patterns.
        borrowed: The same with the patterns that these heads had in the other window.
        shift_bits: Between the patterns of the two windows, mean over heads; tokens after the first of each pair.
    """

    own: Float64[np.ndarray, "token 2"]
    borrowed: Float64[np.ndarray, "token 2"]
    shift_bits: Float64[np.ndarray, " query"]


def layer_sum(pairs: list[tuple[Trace, Trace]], layer: int) -> LayerSum:
    """Over pairs of windows, each cut to the shorter: what tokens see does not depend on what follows."""
    own, borrowed, shifts = [], [], []
    for first, second in pairs:
        tokens = min(first.n_fed, second.n_fed)
        a, b = (layer_patterns(trace, layer)[:, :tokens, :tokens] for trace in (first, second))
        for trace, look, other in ((first, a, b), (second, b, a)):
            value = trace.site(layer_site(layer, "attn.value"))[:tokens]
            heads = trace.site(layer_site(layer, "attn.heads"))[:tokens]
            own.append(squared_errors(read_values(look, value), heads))
            borrowed.append(squared_errors(read_values(other, value), heads))
        shifts.append(np.mean([jensen_shannon_bits(p[1:], q[1:]) for p, q in zip(a, b, strict=True)], axis=0))
    return LayerSum(*(np.concatenate(parts).astype(np.float64) for parts in (own, borrowed, shifts)))


def unexplained(own: Float64[np.ndarray, "unit layer 2"]) -> float:
    """1 - R², the mean over layers."""
    return 1.0 - float(np.mean([r2_of(own[:, layer]) for layer in range(own.shape[1])]))


def effects(layers: list[LayerSum], borrowed: float) -> tuple[Effect, ...]:
    """How exact the sum is, and how far its weights move, over blocks of tokens."""
    own = np.stack([layer.own for layer in layers], axis=1)
    blocks = np.array([part.sum(axis=0) for part in np.split(own, range(BLOCK, len(own), BLOCK))])
    moved = np.mean([layer.shift_bits for layer in layers], axis=0)
    return (
        effect_of(
            jackknife(blocks, unexplained),
            key="unexplained_share",
            label="what heads read beyond their own weighted sum, 1 - R²",
            unit="share",
            threshold=UNEXPLAINED,
            side=Side.BELOW,
            threshold_reason=f"rounding; with the weights of another text {1 - borrowed:.1%} are left",
            sample_unit=f"blocks of {BLOCK} tokens",
        ),
        effect_of(
            mean_interval(block_means(moved, BLOCK)),
            key="pattern_shift_bits",
            label="shift of the weights from one text to another",
            unit="bits",
            threshold=MOVED_BITS,
            threshold_reason="fixed weights shift by 0, rounding by 1e-6; the line above it is our own choice",
            sample_unit=f"blocks of {BLOCK} tokens",
        ),
    )


def measure(lab: LabContext) -> Finding:
    pairs = pairs_of_windows(lab)[:PAIRS]
    if not pairs:
        return not_applicable("two windows of two tokens or more are compared; give a longer text")
    tried = evenly_spaced(lab.spec.n_layers, MAX_LAYERS)
    layers = [layer_sum(pairs, layer) for layer in tried]
    borrowed = float(np.mean([r2_of(layer.borrowed) for layer in layers]))
    found = effects(layers, borrowed)
    own, shift = 1.0 - found[0].value, found[1].value
    return Finding(
        f"The values, weighted by the pattern, explain {own:.2%} of what heads read. The weights are made anew "
        f"for each text: at the same positions of another one they are {shift:.2f} bits away, and put in place of "
        f"these they explain {borrowed:.0%}.",
        found,
        (
            Number("pattern_r2", "heads explained by their own weighted sum", own, "share", borrowed),
            Number("pattern_shift_bits", "patterns at equal positions of two texts", shift, "bits", 0.0),
            Number("borrowed_pattern_r2", "heads explained with another text's weights", borrowed, "share"),
        ),
        curves=(
            layer_curve(
                "how far patterns move from text to text",
                "bits",
                {"pattern shift": [layer.shift_bits.mean() for layer in layers]},
                tried,
            ),
        ),
    )


EXPERIMENT = Experiment(
    key="A1",
    title="attention is a dynamic weighted sum",
    question="Is what a head reads exactly a weighted sum of values, and do the weights move with the text?",
    method="For windows of the passage, every head's `Σ_j p_ij v_j`, with p recomputed from query and key, is held "
    f"against the captured attn.heads: R² = 1 - Σ‖y - ŷ‖² / Σ‖y - ȳ‖², the mean over {MAX_LAYERS} layers at most. "
    "The baseline takes p from another window. The shift is the Jensen-Shannon divergence of p at equal positions of "
    "two windows, the mean over all heads and all queries after the first; weights that are fixed, as an FFN's are, "
    "shift by 0.",
    rule=f"less than {UNEXPLAINED:.1%} beyond the weighted sum, and a shift above {MOVED_BITS} bits",
    source="Vaswani et al. 2017, Attention Is All You Need, section 3.2; divergence: Lin 1991",
    cost_tokens=halves_tokens,
    measure=measure,
)
