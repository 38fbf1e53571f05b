"""How far the words that neurons promote agree with ablating the neurons, layer by layer, at some tokens."""

from dataclasses import dataclass

import numpy as np

from edge.insight.ablation import TOP, Ablation, ListAgreement
from edge.insight.weights import InsightWeights
from edge.lab.claim import Curve, Number, layer_curve
from edge.lab.context import LabContext
from edge.lab.experiments.causal_tracing import traced_layers

PLACES = (11, 23)
"""Tokens of the first window at which neurons are ablated: they have read some text, and a pass up to them is short."""

NEURONS = 4
"""Neurons of a layer that are ablated at each of them, those that write most."""


@dataclass(frozen=True)
class NeuronAblation:
    """Means over tokens and neurons, for each layer that was tried; NaN where no neuron fired.

    Attributes:
        r: Pearson's correlation over the vocabulary of what is read off a neuron and what ablating it takes away.
        others_r: The same with another neuron's effect.
        overlap: Share of the top words of both that are the same.
        by_chance: That share, were one of them any words.
    """

    layers: tuple[int, ...]
    r: tuple[float, ...]
    others_r: tuple[float, ...]
    overlap: tuple[float, ...]
    by_chance: float

    @property
    def late_overlap(self) -> float:
        """The mean overlap of layers in the last quarter of the stack."""
        first = self.layers[-1] + 1 - max(1, (self.layers[-1] + 1) // 4)
        late = [share for layer, share in zip(self.layers, self.overlap, strict=True) if layer >= first]
        return float(np.mean(late))


def places(lab: LabContext) -> list[int]:
    """The tokens of the first window that there are; its last one where it is shorter than all of them."""
    fed = len(lab.window_ids[0])
    return [place for place in PLACES if place < fed] or [fed - 1]


def ablate_neurons(lab: LabContext) -> NeuronAblation:
    """Ablates neurons of each layer, a pass for each."""
    trace, layers = lab.traces[0], tuple(traced_layers(lab.spec.n_layers))
    weights = InsightWeights(lab.model.checkpoint, lab.tokenizer.piece)
    ablations = [Ablation(trace, weights, place, lab.run) for place in places(lab)]
    lab.progress("ablating neurons")
    found = [[one.direct_agreement(layer, NEURONS) for one in ablations if one.strongest(layer, 1)] for layer in layers]
    top = min(TOP, lab.spec.vocab_size)

    def means(part: str) -> tuple[float, ...]:
        return tuple(_mean(agreements, part) for agreements in found)

    overlap = tuple(words / top for words in means("overlap"))
    return NeuronAblation(layers, means("r"), means("others_r"), overlap, top / lab.spec.vocab_size)


def _mean(agreements: list[ListAgreement], part: str) -> float:
    return float(np.mean([getattr(one, part) for one in agreements])) if agreements else float("nan")


def summary(found: NeuronAblation) -> str:
    """The last layer, and the middle one."""
    middle = len(found.layers) // 2

    def told(place: int) -> str:
        return f"r is {found.r[place]:.2f} and {found.overlap[place]:.0%} of the top {TOP} words are the same"

    return (
        f" What a neuron promotes, against the logits that fall when it is ablated: in the last layer {told(-1)}, in "
        f"layer {found.layers[middle]} {told(middle)}."
    )


def numbers(found: NeuronAblation) -> tuple[Number, ...]:
    """Of the last layers, beside other neurons and chance."""
    compared = "words promoted and words that fall when the neuron is ablated"
    return (
        Number("read_off_r_last", f"{compared}: r, last layer", found.r[-1], "ratio", found.others_r[-1]),
        Number(
            "read_off_overlap_late",
            f"{compared}: the same in the top {TOP}, last quarter",
            found.late_overlap,
            "share",
            found.by_chance,
        ),
    )


def curve(found: NeuronAblation) -> Curve:
    """All layers."""
    lines = {
        "r": found.r,
        "r, another neuron ablated": found.others_r,
        f"top {TOP} in common": found.overlap,
    }
    return layer_curve("promoted words against ablation", "r, share", lines, found.layers)


def cost_tokens(lab: LabContext) -> int:
    """Of passes up to each token: one for each neuron, and one without any."""
    layers = traced_layers(lab.spec.n_layers)
    passes = 1 + sum(min(NEURONS, lab.spec.layers[layer].ffn.d_ff) for layer in layers)
    return passes * sum(place + 1 for place in places(lab))
