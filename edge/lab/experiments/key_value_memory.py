"""F4: neurons as memories: what makes them fire, what they promote, and how their sum differs from each."""

import numpy as np

from edge.insight.ablation import TOP
from edge.lab.claim import Curve, Experiment, Finding, Number, layer_curve, not_applicable
from edge.lab.context import LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.experiments import neuron_ablation
from edge.lab.experiments.ffn_activations import ACTIVE
from edge.lab.experiments.layer_neurons import (
    COMPOSED,
    DOMINANT_NEURONS,
    MAX_EXAMPLES,
    Example,
    LayerNeurons,
    layer_neurons,
)
from edge.lab.sample import evenly_spaced, jackknife, ratio
from edge.picture.units import show_share

ABOVE_CHANCE = 0.01
"""Of the memories of upper layers, that agree beyond chance: under a third of the 3.5% of Geva et al. 2021."""

MAX_LAYERS = 8
"""Layers whose memories are read, spread evenly where a decoder has more: each costs a product with the unembedding."""

BLOCK = 16
"""Neighboring tokens: the memories whose triggers lie there make one unit of the sample."""

_BEFORE = 4


def _told(lab: LabContext, example: Example) -> str:
    piece = lab.tokenizer.piece
    before = lab.passage[max(0, example.position + 1 - _BEFORE) : example.position + 1]
    promotes = ", ".join(f"'{piece(int(id)).strip()}'" for id in example.words)
    return (
        f"neuron {example.neuron} of layer {example.layer} fires hardest after "
        f"'…{''.join(piece(id) for id in before)}' and promotes {promotes}"
    )


def _mean(layers: list[LayerNeurons], name: str) -> float:
    values = np.array([getattr(layer, name) for layer in layers], np.float64)
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def _says(lab: LabContext, layers: list[LayerNeurons], numbers: tuple[Number, ...]) -> str:
    """The numbers, and the memories of upper layers that wrote most where they agreed."""
    lower, upper, composition, dominant = numbers
    found = [example for layer in layers[len(layers) // 2 :] for example in layer.examples]
    best = sorted(found, key=lambda example: -example.strength)[:MAX_EXAMPLES]
    examples = f" For example, {'; '.join(_told(lab, example) for example in best)}." if best else ""
    return (
        f"In the upper layers {show_share(upper.value)} of memories promote most what followed the place where they "
        f"fired hardest (by chance {show_share(upper.baseline or 0.0)}; in the lower layers "
        f"{show_share(lower.value)}). At {show_share(composition.value)} of tokens the FFN promotes most what no "
        f"active memory does (with the output of another token {show_share(composition.baseline or 0.0)}). The "
        f"{DOMINANT_NEURONS} strongest memories of a token make {show_share(dominant.value)} of all that is "
        f"added up.{examples}"
    )


def _numbers(lab: LabContext, layers: list[LayerNeurons]) -> tuple[Number, ...]:
    lower, upper = layers[: len(layers) // 2], layers[len(layers) // 2 :]
    even = float(np.mean([min(1.0, DOMINANT_NEURONS / kind.ffn.d_ff) for kind in lab.spec.layers]))
    agreement = "memories that promote what followed their top trigger"
    return (
        Number(
            "agreement_rate_lower",
            f"{agreement}, lower half of the layers",
            _mean(lower, "agreement"),
            "share",
            _mean(lower, "agreement_by_chance"),
        ),
        Number(
            "agreement_rate_upper",
            f"{agreement}, upper half",
            _mean(upper, "agreement"),
            "share",
            _mean(upper, "agreement_by_chance"),
        ),
        Number(
            "composition_rate",
            "tokens whose FFN promotes what no active memory does",
            _mean(layers, "composition"),
            "share",
            _mean(layers, "composition_by_chance"),
        ),
        Number(
            "dominant_share",
            f"the {DOMINANT_NEURONS} strongest memories in Σ |s_i| · ‖v_i‖",
            _mean(layers, "dominant"),
            "share",
            even,
        ),
    )


def effects(upper: list[LayerNeurons]) -> tuple[Effect, ...]:
    """How many memories of the upper layers agree beyond chance, over stretches of text that triggers lie in."""
    agrees, place = (np.concatenate([getattr(one, name) for one in upper]) for name in ("agrees", "position"))
    chance = float(np.nanmean([one.agreement_by_chance for one in upper]))
    block = place // BLOCK
    sums = np.array([[agrees[block == one].sum(), (block == one).sum()] for one in np.unique(block)], np.float64)
    return (
        effect_of(
            jackknife(sums, lambda some: ratio(some) - chance),
            key="agreement_above_chance",
            label="memories of the upper layers that agree with their trigger, less chance",
            unit="share",
            threshold=ABOVE_CHANCE,
            threshold_reason=f"under a third of the 3.5% of Geva et al. 2021; chance is {show_share(chance)}",
            sample_unit=f"blocks of {BLOCK} tokens with triggers",
        ),
    )


def _curves(layers: list[LayerNeurons], places: list[int]) -> tuple[Curve, ...]:
    def curve(title: str, **names: str) -> Curve:
        lines = {name.replace("_", " "): [getattr(one, field) for one in layers] for name, field in names.items()}
        return layer_curve(title, "share", lines, places)

    return (
        curve("memories that agree with their trigger", agreement="agreement", chance="agreement_by_chance"),
        curve("tokens whose FFN composes", composition="composition", other_outputs="composition_by_chance"),
    )


def _measure(lab: LabContext) -> Finding:
    places = evenly_spaced(lab.spec.n_layers, MAX_LAYERS)
    layers = [layer_neurons(lab, layer) for layer in places]
    upper = layers[len(layers) // 2 :]
    if not sum(len(layer.agrees) for layer in upper):
        return not_applicable("no memory of the upper layers fired on this text; give another or a longer one (--text)")
    numbers, ablated = _numbers(lab, layers), neuron_ablation.ablate_neurons(lab)
    return Finding(
        _says(lab, layers, numbers) + neuron_ablation.summary(ablated),
        effects(upper),
        (*numbers, *neuron_ablation.numbers(ablated)),
        (*_curves(layers, places), neuron_ablation.curve(ablated)),
    )


EXPERIMENT = Experiment(
    key="F4",
    title="the FFN is a key-value memory",
    question="Does a neuron promote what came where it fired hardest, and does the FFN promote what one of them does?",
    method=(
        "Neuron i is a memory: its coefficient s_i enters the down projection (of a gated FFN act(gate) · up), its "
        "value v_i is that matrix's column. It promotes argmax W_U · v_i, the final norm's gain exact_value. "
        "Its trigger "
        "is the token of the passage with the largest s_i; it agrees where it promotes what follows there. Chance "
        "deals the tokens that follow out anew. Composition: tokens where argmax W_U · ffn.output is none of those "
        f"that active memories promote, |s_i| > {ACTIVE:g} of the layer's rms, by -v_i where s_i is below 0; beside "
        f"it the output of another token, on {COMPOSED} windows. Dominant: the {DOMINANT_NEURONS} largest of "
        "|s_i| · ‖v_i‖ in "
        f"their sum. The first token of each pass is left out. {MAX_LAYERS} layers at most. "
        "Beside it, whether these words can be believed: at "
        f"{len(neuron_ablation.PLACES)} tokens of the passage the {neuron_ablation.NEURONS} neurons of a layer "
        "that write most are "
        "ablated there, one at a time, and the fall of each logit is compared with s_i · W_U · v_i: Pearson's r, and "
        f"how many of the top {TOP} are the same."
    ),
    rule=f"in the upper half of the layers more than {ABOVE_CHANCE:.0%} of memories agree beyond chance",
    source="Geva et al. 2021 (arXiv 2012.14913), 3.5% in upper layers; Geva et al. 2022 (arXiv 2203.14680)",
    cost_tokens=neuron_ablation.cost_tokens,
    measure=_measure,
)
