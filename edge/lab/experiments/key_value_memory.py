"""F4: neurons as key-value memories: triggers, promoted tokens, and composition in the FFN's output."""

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
"""Share of upper-layer neurons that agree, minus chance: less than a third of the 3.5% of Geva et al. 2021."""

MAX_LAYERS = 8
"""Layers that are measured, evenly spaced if a decoder has more; each needs one product with the unembedding."""

BLOCK = 16
"""Consecutive tokens; the neurons whose triggers are among them form one unit of the sample."""

_BEFORE = 4


def _example_sentence(lab: LabContext, example: Example) -> str:
    piece = lab.tokenizer.piece
    before = lab.passage[max(0, example.position + 1 - _BEFORE) : example.position + 1]
    promoted = ", ".join(f"'{piece(int(id)).strip()}'" for id in example.promoted_ids)
    return (
        f"neuron {example.neuron} of layer {example.layer} has its top trigger at "
        f"'…{''.join(piece(id) for id in before)}' and promotes the tokens {promoted}"
    )


def _mean(layers: list[LayerNeurons], name: str) -> float:
    values = np.array([getattr(layer, name) for layer in layers], np.float64)
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def _summary(lab: LabContext, layers: list[LayerNeurons], numbers: tuple[Number, ...]) -> str:
    """The numbers as sentences, with the strongest upper-layer neurons that agree as examples."""
    lower, upper, composition, dominant = numbers
    found = [example for layer in layers[len(layers) // 2 :] for example in layer.examples]
    best = sorted(found, key=lambda example: -example.strength)[:MAX_EXAMPLES]
    examples = f" For example, {'; '.join(_example_sentence(lab, example) for example in best)}." if best else ""
    return (
        f"In the upper half of the layers, the top promoted token of {show_share(upper.value)} of neurons is the token "
        f"after the neuron's top trigger (chance: {show_share(upper.baseline or 0.0)}; lower half: "
        f"{show_share(lower.value)}). At {show_share(composition.value)} of tokens, no active neuron has the same top "
        "promoted token as the FFN's output (with the output at another token: "
        f"{show_share(composition.baseline or 0.0)}). The {DOMINANT_NEURONS} neurons with the largest contributions at "
        f"a token make up {show_share(dominant.value)} of the sum of all contributions.{examples}"
    )


def _numbers(lab: LabContext, layers: list[LayerNeurons]) -> tuple[Number, ...]:
    lower, upper = layers[: len(layers) // 2], layers[len(layers) // 2 :]
    even = float(np.mean([min(1.0, DOMINANT_NEURONS / kind.ffn.d_ff) for kind in lab.spec.layers]))
    agreement = "agreement rate"
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
            f"{agreement}, upper half of the layers",
            _mean(upper, "agreement"),
            "share",
            _mean(upper, "agreement_by_chance"),
        ),
        Number(
            "composition_rate",
            "composition rate",
            _mean(layers, "composition"),
            "share",
            _mean(layers, "composition_by_chance"),
        ),
        Number(
            "dominant_share",
            f"share of the {DOMINANT_NEURONS} strongest neurons in Σ |s_i| · ‖v_i‖",
            _mean(layers, "dominant"),
            "share",
            even,
        ),
    )


def effects(upper: list[LayerNeurons]) -> tuple[Effect, ...]:
    """The agreement rate of upper-layer neurons minus chance; the units are blocks of tokens with triggers."""
    agrees, place = (np.concatenate([getattr(one, name) for one in upper]) for name in ("agrees", "position"))
    chance = float(np.nanmean([one.agreement_by_chance for one in upper]))
    block = place // BLOCK
    sums = np.array([[agrees[block == one].sum(), (block == one).sum()] for one in np.unique(block)], np.float64)
    return (
        effect_of(
            jackknife(sums, lambda some: ratio(some) - chance),
            key="agreement_above_chance",
            label="agreement rate of upper-layer neurons, minus chance",
            unit="share_difference",
            threshold=ABOVE_CHANCE,
            threshold_reason=f"less than a third of the 3.5% of Geva et al. 2021; chance is {show_share(chance)}",
            sample_unit=f"blocks of {BLOCK} tokens with triggers",
        ),
    )


def _curves(layers: list[LayerNeurons], places: list[int]) -> tuple[Curve, ...]:
    def curve(title: str, **names: str) -> Curve:
        lines = {name.replace("_", " "): [getattr(one, field) for one in layers] for name, field in names.items()}
        return layer_curve(title, "share", lines, places)

    return (
        curve("agreement rate", agreement="agreement", chance="agreement_by_chance"),
        curve("composition rate", composition="composition", output_of_another_token="composition_by_chance"),
    )


def _measure(lab: LabContext) -> Finding:
    places = evenly_spaced(lab.spec.n_layers, MAX_LAYERS)
    layers = [layer_neurons(lab, layer) for layer in places]
    upper = layers[len(layers) // 2 :]
    if not sum(len(layer.agrees) for layer in upper):
        return not_applicable(
            "no neuron of the upper layers is active on this text; use another or a longer text (--text)"
        )
    numbers, ablated = _numbers(lab, layers), neuron_ablation.ablate_neurons(lab)
    return Finding(
        _summary(lab, layers, numbers) + neuron_ablation.summary(ablated),
        effects(upper),
        (*numbers, *neuron_ablation.numbers(ablated)),
        (*_curves(layers, places), neuron_ablation.curve(ablated)),
    )


EXPERIMENT = Experiment(
    key="F4",
    title="The FFN is a key-value memory",
    question="Does a neuron promote the token that follows its top trigger, and is the top token promoted by the FFN's "
    "output that of one of its neurons?",
    method=(
        "Neuron i has an activation s_i and a value vector v_i. The activation is the input of the down projection "
        "(gated FFN: act(gate) · up), the coefficient of Geva et al. 2021. v_i is a column of the down projection. Its "
        "promoted token is argmax W_U · v_i, with the gain of the final norm folded in. Its trigger is the token of "
        "the passage with the largest s_i. It agrees if its promoted token is the token after the trigger. Chance: the "
        "next tokens are shuffled. Composition rate: the share of tokens where argmax W_U · ffn.output is the promoted "
        f"token of no active neuron, |s_i| > {ACTIVE:g} of the layer's rms (-v_i if s_i < 0). Baseline: the output at "
        f"another token. Both use {COMPOSED} windows. Dominant share: the {DOMINANT_NEURONS} largest |s_i| · ‖v_i‖ in "
        "the sum over all neurons. The first token of each window is left out, and at most "
        f"{MAX_LAYERS} layers are measured. Check by ablation: at {len(neuron_ablation.PLACES)} tokens, the "
        f"{neuron_ablation.NEURONS} strongest neurons of a layer are ablated one at a time. The decrease of each logit "
        f"is compared with s_i · W_U · v_i by Pearson's r, and by the overlap of the top {TOP} tokens."
    ),
    rule=f"In the upper half of the layers, the agreement rate exceeds chance by more than {100 * ABOVE_CHANCE:.0f} "
    "percentage point.",
    source="Geva et al. 2021 (arXiv 2012.14913), 3.5% in upper layers; Geva et al. 2022 (arXiv 2203.14680)",
    cost_tokens=neuron_ablation.cost_tokens,
    measure=_measure,
)
