"""A1: outputs of heads are weighted sums of values, with weights that depend on the text."""

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
from edge.picture.units import show_measured
from edge.trace import Trace
from models.sites import HEADS, VALUE, layer_site

PAIRS = 3
"""Pairs of windows that are compared, each window once; more pairs change little and take time."""

UNEXPLAINED = 0.001
"""Share of the variance. The formula has no free parameter, so only rounding error is left: 1e-4 in half precision."""

MOVED_BITS = 0.01
"""Our own choice, no paper sets it. Fixed weights give 0, rounding error 1e-6, disjoint patterns 1."""

MAX_LAYERS = 8
"""Layers that are measured, evenly spaced if a decoder has more."""

BLOCK = 16
"""Consecutive tokens that form one unit of the sample."""


@dataclass(frozen=True)
class LayerSum:
    """One layer over pairs of windows.

    Attributes:
        own: `squared_errors` of `attn.heads` from the heads' own patterns, for each token.
        borrowed: The same with the patterns of the heads in the other window.
        shift_bits: Divergence of the patterns of the two windows, mean over heads, for each token after the first.
    """

    own: Float64[np.ndarray, "token 2"]
    borrowed: Float64[np.ndarray, "token 2"]
    shift_bits: Float64[np.ndarray, " query"]


def layer_sum(pairs: list[tuple[Trace, Trace]], layer: int) -> LayerSum:
    """One layer over pairs of windows, both cut to the shorter; tokens do not depend on later ones."""
    own, borrowed, shifts = [], [], []
    for first, second in pairs:
        tokens = min(first.n_fed, second.n_fed)
        a, b = (layer_patterns(trace, layer)[:, :tokens, :tokens] for trace in (first, second))
        for trace, pattern, other in ((first, a, b), (second, b, a)):
            value = trace.site(layer_site(layer, VALUE))[:tokens]
            heads = trace.site(layer_site(layer, HEADS))[:tokens]
            own.append(squared_errors(read_values(pattern, value), heads))
            borrowed.append(squared_errors(read_values(other, value), heads))
        shifts.append(np.mean([jensen_shannon_bits(p[1:], q[1:]) for p, q in zip(a, b, strict=True)], axis=0))
    return LayerSum(*(np.concatenate(parts).astype(np.float64) for parts in (own, borrowed, shifts)))


def unexplained(own: Float64[np.ndarray, "unit layer 2"]) -> float:
    """1 - R², mean over layers."""
    return 1.0 - float(np.mean([r2_of(own[:, layer]) for layer in range(own.shape[1])]))


def effects(layers: list[LayerSum], borrowed: float) -> tuple[Effect, ...]:
    """The unexplained share, and the change of the weights between texts; a unit of the sample is a block of tokens."""
    own = np.stack([layer.own for layer in layers], axis=1)
    blocks = np.array([part.sum(axis=0) for part in np.split(own, range(BLOCK, len(own), BLOCK))])
    moved = np.mean([layer.shift_bits for layer in layers], axis=0)
    return (
        effect_of(
            jackknife(blocks, unexplained),
            key="unexplained_share",
            label="share of heads' outputs that the weighted sum does not explain, 1 - R²",
            unit="share",
            threshold=UNEXPLAINED,
            side=Side.BELOW,
            threshold_reason=f"rounding error; with the weights of another text 1 - R² is {1 - borrowed:.1%}",
            sample_unit=f"blocks of {BLOCK} tokens",
        ),
        effect_of(
            mean_interval(block_means(moved, BLOCK)),
            key="pattern_shift_bits",
            label="divergence of attention weights between two texts",
            unit="bits",
            threshold=MOVED_BITS,
            threshold_reason="our own choice; fixed weights give 0, rounding error 1e-6",
            sample_unit=f"blocks of {BLOCK} tokens",
        ),
    )


def measure(lab: LabContext) -> Finding:
    pairs = pairs_of_windows(lab)[:PAIRS]
    if not pairs:
        return not_applicable("the comparison needs two windows of at least 2 tokens; use a longer --text")
    measured = evenly_spaced(lab.spec.n_layers, MAX_LAYERS)
    layers = [layer_sum(pairs, layer) for layer in measured]
    borrowed = float(np.mean([r2_of(layer.borrowed) for layer in layers]))
    found = effects(layers, borrowed)
    own, shift = 1.0 - found[0].value, found[1].value
    return Finding(
        f"The outputs of heads are weighted sums of values (R² {show_measured(own, 'ratio')}). The weights depend on "
        f"the text: at the same positions of another text they differ by {shift:.2f} bits. With the weights of "
        f"another text, R² is {show_measured(borrowed, 'ratio')}.",
        found,
        (
            Number("pattern_r2", "R² of the weighted sum, own weights", own, "ratio", borrowed),
            Number(
                "pattern_shift_bits",
                "divergence of attention weights at the same positions of two texts",
                shift,
                "bits",
                0.0,
            ),
            Number("borrowed_pattern_r2", "R² of the weighted sum, weights of another text", borrowed, "ratio"),
        ),
        curves=(
            layer_curve(
                "divergence of attention weights between two texts",
                "bits",
                {"divergence": [layer.shift_bits.mean() for layer in layers]},
                measured,
            ),
        ),
    )


EXPERIMENT = Experiment(
    key="A1",
    title="Attention is a dynamic weighted sum",
    question="Is the output of a head exactly a weighted sum of values, and do the weights change with the text?",
    method="For windows of the passage, `Σ_j p_ij v_j` of every head, with p recomputed from query and key, is "
    f"compared with the recorded attn.heads. R² = 1 - Σ‖y - ŷ‖² / Σ‖y - ȳ‖², mean over at most {MAX_LAYERS} layers. "
    "Baseline: p from another window. Change of the weights: Jensen-Shannon divergence of p at the same positions of "
    "two windows, mean over all heads and all queries after the first. Fixed weights, as in an FFN, give 0.",
    rule=f"Less than {UNEXPLAINED:.1%} of the variance is unexplained, and the divergence of the weights is above "
    f"{MOVED_BITS} bits.",
    source="Vaswani et al. 2017, Attention Is All You Need, section 3.2; divergence: Lin 1991",
    cost_tokens=halves_tokens,
    measure=measure,
)
