"""The neurons of one layer over a passage: their triggers, the tokens they promote, and how they compose."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from edge.lab.context import LabContext
from edge.lab.experiments.ffn_activations import ACTIVE, neurons_after_first, neurons_rms
from edge.lab.sample import evenly_spaced
from edge.measure.neurons import Triggers, agreement_rate, composition_rate, promoted, top_token, vector_norms
from edge.measure.sparsity import output_norms
from edge.readout import open_output_projection
from models.sites import FFN_OUTPUT, layer_site

DOMINANT_NEURONS = 10
"""Strongest neurons of a token whose share of all contributions is reported (Geva et al. 2022, section 5)."""

COMPOSED = 2
"""Windows of the passage, evenly spaced, whose outputs are multiplied by the whole unembedding."""

MAX_EXAMPLES = 2
"""Neurons of a layer that are kept as examples."""

_PROMOTED = 3


@dataclass(frozen=True)
class Example:
    """A neuron whose top promoted token is the token after its top trigger.

    Attributes:
        strength: L2 norm of its contribution at the trigger, in units of the residual stream.
        position: Position of the trigger in the passage.
        promoted_ids: The promoted tokens, strongest first.
    """

    layer: int
    neuron: int
    strength: float
    position: int
    promoted_ids: tuple[int, ...]


@dataclass(frozen=True)
class LayerNeurons:
    """The neurons of one layer over the passage.

    Attributes:
        agrees: Whether the top promoted token of each neuron with a trigger is the token after its top trigger.
        position: Position of that trigger in the passage.
        agreement: The share of neurons that agree.
        agreement_by_chance: The expected share if the tokens after triggers are shuffled.
        composition: Share of tokens where no active neuron has the same top promoted token as the FFN's output.
        composition_by_chance: The same share with the output at another token.
        dominant: Share of the strongest neurons in `Σ |s_i| · ‖v_i‖`, mean over tokens.
    """

    agrees: Bool[np.ndarray, " triggered"]
    position: Int64[np.ndarray, " triggered"]
    agreement: float
    agreement_by_chance: float
    composition: float
    composition_by_chance: float
    dominant: float
    examples: tuple[Example, ...]


def chance_agreement(top: Int64[np.ndarray, " neuron"], following: Int64[np.ndarray, " neuron"]) -> float:
    """The expected agreement if the tokens after triggers are shuffled: `Σ_w P(top = w) · P(next = w)`."""
    known = following >= 0
    if not known.any():
        return float("nan")
    size = int(max(top[known].max(), following[known].max())) + 1
    tops, nexts = (np.bincount(ids[known], minlength=size).astype(np.float64) for ids in (top, following))
    return float(tops @ nexts / known.sum() ** 2)


def top_triggers(lab: LabContext, layer: int) -> Triggers:
    """The top trigger of each neuron of a layer; the first token of each window is left out."""
    triggers, begun = Triggers.empty(lab.spec.layers[layer].ffn.d_ff), 0
    following = np.array(lab.passage[1:], np.int64)
    for rows in neurons_after_first(lab, layer):
        first = begun + 1
        triggers.add(rows, following[first : first + len(rows)], first)
        begun = first + len(rows)
    return triggers


def _composition(lab: LabContext, layer: int, tops: Int64[np.ndarray, " signed"]) -> tuple[float, float]:
    """The composition rate of the outputs, and of outputs shifted by half a window.

    `tops` has the top promoted token of each neuron for a positive, then for a negative coefficient.
    """
    readout, threshold = lab.readout, ACTIVE * neurons_rms(lab, layer)
    projection = open_output_projection(lab.model.checkpoint, layer, "ffn")
    rates, counts = [], []
    for trace in (lab.traces[place] for place in evenly_spaced(len(lab.traces), COMPOSED)):
        rows = trace.neurons(layer)[1:]
        active = np.concatenate([rows > threshold, rows < -threshold], axis=1)
        wrote = trace.site(layer_site(layer, FFN_OUTPUT))[1:]
        output = top_token(readout.folded(wrote, projection), readout.weight)
        moved = np.roll(output, len(output) // 2)
        some = int(active.any(axis=-1).sum())
        if some:
            rates.append([composition_rate(each, tops, active) for each in (output, moved)])
            counts.append(some)
    if not counts:
        return float("nan"), float("nan")
    own, other = np.average(rates, axis=0, weights=counts)
    return float(own), float(other)


def _dominant_share(lab: LabContext, layer: int, norms: Float32[np.ndarray, " neuron"]) -> float:
    """`Σ |s_i| · ‖v_i‖` of the strongest neurons over that of all neurons, mean over tokens with an active neuron."""
    few, shares = min(DOMINANT_NEURONS, len(norms)), []
    for rows in neurons_after_first(lab, layer):
        wrote = output_norms(rows, norms)
        whole = wrote.sum(axis=-1, dtype=np.float64)
        strongest = np.partition(wrote, len(norms) - few, axis=-1)[:, len(norms) - few :]
        shares.append(strongest.sum(axis=-1, dtype=np.float64)[whole > 0] / whole[whole > 0])
    joined = np.concatenate(shares)
    return float(joined.mean()) if len(joined) else float("nan")


def layer_neurons(lab: LabContext, layer: int) -> LayerNeurons:
    """All measures of one layer."""
    projection, triggers = open_output_projection(lab.model.checkpoint, layer, "ffn"), top_triggers(lab, layer)
    values, readout = projection.output_vectors(), lab.readout
    tokens = promoted(readout.folded(values, projection), readout.weight, min(_PROMOTED, lab.spec.vocab_size))
    top, norms = tokens.top[:, 0], vector_norms(values)
    composition, composition_by_chance = _composition(lab, layer, np.concatenate([top, tokens.bottom[:, 0]]))
    strength = np.where(top == triggers.next_token, triggers.coefficient * norms, 0.0)
    best = [int(neuron) for neuron in np.argsort(-strength, kind="stable")[:MAX_EXAMPLES] if strength[neuron] > 0]
    triggered = triggers.next_token >= 0
    return LayerNeurons(
        agrees=(top == triggers.next_token)[triggered],
        position=triggers.position[triggered],
        agreement=agreement_rate(top, triggers.next_token),
        agreement_by_chance=chance_agreement(top, triggers.next_token),
        composition=composition,
        composition_by_chance=composition_by_chance,
        dominant=_dominant_share(lab, layer, norms),
        examples=tuple(
            Example(
                layer,
                neuron,
                float(strength[neuron]),
                int(triggers.position[neuron]),
                tuple(tokens.top[neuron].tolist()),
            )
            for neuron in best
        ),
    )
