"""Agreement of the direct effects of neurons on logits with the effects of ablating them, layer by layer."""

from dataclasses import dataclass

import numpy as np

from edge.insight.ablation import TOP, Ablation, ListAgreement
from edge.insight.weights import InsightWeights
from edge.lab.claim import Curve, Number, layer_curve
from edge.lab.context import LabContext
from edge.lab.experiments.causal_tracing import traced_layers
from edge.picture.units import show_measured

PLACES = (11, 23)
"""Positions in the first window at which neurons are ablated: early, so that each pass is short, but with context."""

NEURONS = 4
"""Strongest neurons of a layer that are ablated at each position."""


@dataclass(frozen=True)
class NeuronAblation:
    """Means over tokens and neurons, for each measured layer; NaN where no neuron is active.

    Attributes:
        r: Pearson's r over the vocabulary of a neuron's direct effect on logits and the effect of ablating it.
        others_r: The same with the effect of ablating another neuron.
        overlap: Share of the top tokens that both have in common.
        by_chance: That share for random tokens.
    """

    layers: tuple[int, ...]
    r: tuple[float, ...]
    others_r: tuple[float, ...]
    overlap: tuple[float, ...]
    by_chance: float

    @property
    def late_overlap(self) -> float:
        """The mean overlap in the last quarter of the layers."""
        first = self.layers[-1] + 1 - max(1, (self.layers[-1] + 1) // 4)
        late = [share for layer, share in zip(self.layers, self.overlap, strict=True) if layer >= first]
        return float(np.mean(late))


def places(lab: LabContext) -> list[int]:
    """The positions that exist in the first window; its last token if it is shorter."""
    fed = len(lab.window_ids[0])
    return [place for place in PLACES if place < fed] or [fed - 1]


def ablate_neurons(lab: LabContext) -> NeuronAblation:
    """Ablates neurons of each layer, one pass for each neuron."""
    trace, layers = lab.traces[0], tuple(traced_layers(lab.spec.n_layers))
    weights = InsightWeights(lab.model.checkpoint, lab.tokenizer.piece)
    ablations = [Ablation(trace, weights, place, lab.run) for place in places(lab)]
    lab.progress("ablating neurons")
    found = [[one.direct_agreement(layer, NEURONS) for one in ablations if one.strongest(layer, 1)] for layer in layers]
    top = min(TOP, lab.spec.vocab_size)

    def means(part: str) -> tuple[float, ...]:
        return tuple(_mean(agreements, part) for agreements in found)

    overlap = tuple(common / top for common in means("overlap"))
    return NeuronAblation(layers, means("r"), means("others_r"), overlap, top / lab.spec.vocab_size)


def _mean(agreements: list[ListAgreement], part: str) -> float:
    return float(np.mean([getattr(one, part) for one in agreements])) if agreements else float("nan")


def summary(found: NeuronAblation) -> str:
    """The result for the last and the middle layer, as a sentence."""
    middle = len(found.layers) // 2

    def agreement(place: int) -> str:
        r = show_measured(found.r[place], "ratio")
        return f"r = {r}, {found.overlap[place]:.0%} of the top {TOP} tokens in common"

    return (
        " The direct effect of a neuron on logits, compared with the effect of ablating it: last layer "
        f"{agreement(-1)}; layer {found.layers[middle]} {agreement(middle)}."
    )


def numbers(found: NeuronAblation) -> tuple[Number, ...]:
    """Numbers of the last layers, with other neurons and chance as baselines."""
    compared = "direct effect and effect of ablation"
    return (
        Number("ablation_r_last", f"{compared}: Pearson's r, last layer", found.r[-1], "ratio", found.others_r[-1]),
        Number(
            "ablation_overlap_late",
            f"{compared}: overlap of the top {TOP}, last quarter of layers",
            found.late_overlap,
            "share",
            found.by_chance,
        ),
    )


def curve(found: NeuronAblation) -> Curve:
    """The agreement of all measured layers."""
    lines = {
        "Pearson's r": found.r,
        "Pearson's r, another neuron ablated": found.others_r,
        f"overlap of the top {TOP}": found.overlap,
    }
    return layer_curve("direct effect and effect of ablation of neurons", "r; share of tokens", lines, found.layers)


def cost_tokens(lab: LabContext) -> int:
    """Tokens of the passes up to each position: one pass for each neuron, and one without ablation."""
    layers = traced_layers(lab.spec.n_layers)
    passes = 1 + sum(min(NEURONS, lab.spec.layers[layer].ffn.d_ff) for layer in layers)
    return passes * sum(place + 1 for place in places(lab))
