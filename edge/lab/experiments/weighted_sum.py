"""A1: what a head writes is a sum of values, weighted by a pattern that moves with the text."""

from dataclasses import dataclass

import numpy as np

from edge.lab.claim import Experiment, Finding, Number, Verdict, layer_curve, not_applicable
from edge.lab.experiments.patterns import halves_tokens, layer_patterns, pairs_of_windows, read_values
from edge.lab.subject import Subject
from edge.measure.divergence import jensen_shannon_bits
from edge.measure.maps import r2
from edge.trace import Trace
from models.sites import layer_site

PAIRS = 3
"""Pairs of windows that are compared, each window once: patterns of more tell the same and take their time."""

EXPLAINED = 0.999
"""The formula has no free number, so that only rounding may keep R² from 1; half precision leaves 1e-4 or less."""

MOVED_BITS = 0.001
"""Above what rounding moves a pattern: 1e-6 bits in float32."""


@dataclass(frozen=True)
class LayerSum:
    """One layer over some pairs of windows.

    Attributes:
        r2: Variance of `attn.heads` that the heads' own patterns explain.
        borrowed_r2: The same with the patterns that these heads had in the other window.
        shift_bits: Between the patterns of the two windows.
    """

    r2: float
    borrowed_r2: float
    shift_bits: float


def layer_sum(pairs: list[tuple[Trace, Trace]], layer: int) -> LayerSum:
    """Means over pairs of windows, each cut to the shorter: what tokens see does not depend on what follows."""
    own, borrowed, shifts = [], [], []
    for first, second in pairs:
        tokens = min(first.n_fed, second.n_fed)
        a, b = (layer_patterns(trace, layer)[:, :tokens, :tokens] for trace in (first, second))
        for trace, look, other in ((first, a, b), (second, b, a)):
            value = trace.site(layer_site(layer, "attn.value"))[:tokens]
            heads = trace.site(layer_site(layer, "attn.heads"))[:tokens]
            own.append(r2(read_values(look, value), heads))
            borrowed.append(r2(read_values(other, value), heads))
        shifts += [float(jensen_shannon_bits(p[1:], q[1:]).mean()) for p, q in zip(a, b, strict=True)]
    return LayerSum(float(np.mean(own)), float(np.mean(borrowed)), float(np.mean(shifts)))


def measure(subject: Subject) -> Finding:
    pairs = pairs_of_windows(subject)[:PAIRS]
    if not pairs:
        return not_applicable("two windows of two tokens or more are compared; give a longer text")
    layers = [layer_sum(pairs, layer) for layer in range(subject.spec.n_layers)]
    explained = float(np.mean([layer.r2 for layer in layers]))
    borrowed = float(np.mean([layer.borrowed_r2 for layer in layers]))
    shift = float(np.mean([layer.shift_bits for layer in layers]))
    holds = explained > EXPLAINED and shift > MOVED_BITS
    return Finding(
        Verdict.HOLDS if holds else Verdict.FAILS,
        f"The values, weighted by the pattern, explain {explained:.2%} of what heads read. The weights are made anew "
        f"for each text: at the same positions of another one they are {shift:.2f} bits away, and put in place of "
        f"these they explain {borrowed:.0%}.",
        (
            Number("pattern_r2", "heads explained by their own weighted sum", explained, "share", borrowed),
            Number("pattern_shift_bits", "patterns at equal positions of two texts", shift, "bits", 0.0),
            Number("borrowed_pattern_r2", "heads explained with another text's weights", borrowed, "share"),
        ),
        curves=(
            layer_curve(
                "how far patterns move from text to text",
                "bits",
                {"pattern shift": [layer.shift_bits for layer in layers]},
                range(len(layers)),
            ),
        ),
    )


EXPERIMENT = Experiment(
    key="A1",
    claim="attention is a dynamic weighted sum",
    asks="Is what a head reads exactly a weighted sum of values, and do the weights move with the text?",
    how="For windows of the passage, every head's `Σ_j p_ij v_j`, with p recomputed from query and key, is held "
    "against the captured attn.heads: R² = 1 - Σ‖y - ŷ‖² / Σ‖y - ȳ‖², the mean over layers. The baseline takes p from "
    "another window. The shift is the Jensen-Shannon divergence of p at equal positions of two windows, the mean "
    "over all "
    "heads and all queries after the first; weights that are fixed, as an FFN's are, shift by 0.",
    rule=f"R² above {EXPLAINED} and a shift above {MOVED_BITS} bits, which is more than rounding",
    source="Vaswani et al. 2017, Attention Is All You Need, section 3.2; divergence: Lin 1991",
    cost_tokens=halves_tokens,
    measure=measure,
)
