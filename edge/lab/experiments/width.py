"""F3: the width of the FFN, and the effective dimensions of its input, its neurons and its output."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

from edge.lab.claim import Curve, Experiment, Finding, Number, layer_curve, not_applicable, shared_passage_only
from edge.lab.context import LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.experiments.ffn_activations import (
    after_first,
    ffn_input,
    neurons_after_first,
    passage_tokens_for,
    site_after_first,
    up_weights,
)
from edge.lab.sample import evenly_spaced, exact_value, mean_interval
from edge.measure.linearity import dimensions
from edge.picture.units import show_number
from models.sites import FFN_OUTPUT, ROUTER, SHARED_GATE
from models.spec import MoE

MAX_LAYERS = 8
"""Layers whose spectra are computed, evenly spaced if a decoder has more."""

WIDER = 1.1
"""Smallest ratio of dimensions. A linear map of any width gives at most 1; the margin of 0.1 is our own choice."""

_NAMES = ("input", "up projection, before the activation", "neurons", "output")


def _widened(lab: LabContext, layer: int, read: Float32[np.ndarray, "token model"]) -> Float[np.ndarray, "token rank"]:
    """The output of the up projection up to a rotation: with `W = QR`, `x Rᵀ` has the spectrum of `x Wᵀ`."""
    up, _ = up_weights(lab, layer)
    triangle: Float32[np.ndarray, "rank model"] = np.asarray(np.linalg.qr(up, mode="r"), np.float32)
    return np.asarray(read @ triangle.T)


def _routed_rank(lab: LabContext, layer: int, kind: MoE) -> float:
    """The effective rank of the up projection times the router's weights: neurons without an activation function."""
    given = np.repeat(site_after_first(lab, layer, ROUTER), kind.expert.d_ff, axis=1)
    gate = site_after_first(lab, layer, SHARED_GATE) if kind.shared_gated else np.ones((len(given), 1), np.float32)
    up, _ = up_weights(lab, layer)
    routed = ffn_input(lab, layer) @ up.T * np.hstack([given, np.repeat(gate, kind.d_shared, axis=1)])
    return dimensions(np.asarray(routed, np.float32))[0]


def _dimensions(lab: LabContext, layer: int) -> Float64[np.ndarray, "measure place"]:
    """Effective ranks and participation ratios at four places of one FFN."""
    read = ffn_input(lab, layer)
    places = (
        read,
        _widened(lab, layer, read),
        np.concatenate(list(neurons_after_first(lab, layer))),
        site_after_first(lab, layer, FFN_OUTPUT),
    )
    return np.array([dimensions(rows) for rows in places]).T


def _curve(title: str, by_layer: Float64[np.ndarray, "layer place"], layers: list[int]) -> Curve:
    return layer_curve(title, "dimensions", dict(zip(_NAMES, by_layer.T, strict=True)), layers)


def effects(expansion: float, ranks: Float64[np.ndarray, "layer place"]) -> tuple[Effect, ...]:
    """The expansion ratio, and the gain of effective dimensions in the neurons; the sample is layers."""
    read, up, neurons, wrote = ranks.T
    others = np.maximum.reduce([read, up, wrote])
    more = np.divide(neurons, others, out=np.full(len(neurons), np.nan), where=others > 0)
    return (
        effect_of(
            exact_value(expansion),
            key="expansion_ratio",
            label="expansion ratio d_ff / d_model",
            unit="ratio",
            threshold=1.0,
            threshold_reason="1: the FFN is as wide as the residual stream",
            sample_unit="",
        ),
        effect_of(
            mean_interval(more),
            key="dimensions_gained",
            label="effective rank of the neurons, divided by the largest of input, up projection and output",
            unit="ratio",
            threshold=WIDER,
            threshold_reason="a linear map of any width gives at most 1; the margin of 0.1 is our own choice",
            sample_unit="layers",
        ),
    )


def _numbers(kind: str, label: str, mean: Float64[np.ndarray, " place"]) -> tuple[Number, ...]:
    """One measure at each place; the baseline of the neurons is the up projection, which is linear."""
    read, up, neurons, wrote = (float(value) for value in mean)
    return (
        Number(f"input_{kind}", f"{label}, FFN input", read, "count"),
        Number(f"neuron_{kind}", f"{label}, neurons", neurons, "count", up),
        Number(f"output_{kind}", f"{label}, FFN output", wrote, "count"),
    )


@dataclass(frozen=True)
class Mixtures:
    """What is measured of mixtures of experts, means over layers.

    Attributes:
        expansion: Neurons that a token can use, over d_model.
        routed_rank: Effective rank of the up projection times the router's weights.
    """

    expansion: float
    routed_rank: float

    @property
    def numbers(self) -> tuple[Number, ...]:
        chosen = "expansion ratio of the neurons that a token can use (chosen and shared experts)"
        routed = "effective rank, up projection times the router's weights, without the activation function"
        return (
            Number("expansion_ratio_of_chosen", chosen, self.expansion, "ratio", 1.0),
            Number("routed_effective_rank", routed, self.routed_rank, "count"),
        )


def _mixtures(lab: LabContext, layers: list[int]) -> Mixtures | None:
    """None for a decoder without mixtures."""
    kinds = [(layer, kind) for layer in layers if isinstance(kind := lab.spec.layers[layer].ffn, MoE)]
    if not kinds:
        return None
    used = float(np.mean([kind.ffn.d_used / lab.spec.d_model for kind in lab.spec.layers]))
    return Mixtures(used, float(np.mean([_routed_rank(lab, layer, kind) for layer, kind in kinds])))


def _measure(lab: LabContext) -> Finding:
    spec, rows = lab.spec, int(after_first(lab).sum())
    if rows <= spec.d_model:
        enough = passage_tokens_for(lab, 2 * max(kind.ffn.d_ff for kind in spec.layers))
        return not_applicable(
            f"{rows:,} tokens span at most {rows - 1:,} dimensions, fewer than the FFN's input ({spec.d_model:,}); use "
            f"--tokens {enough} and a --text of at least {enough:,} tokens"
        )
    layers = evenly_spaced(spec.n_layers, MAX_LAYERS)
    found = np.array([_dimensions(lab, layer) for layer in layers])
    ranks, ratios = found.mean(axis=0)
    read, up, neurons, wrote = (float(rank) for rank in ranks)
    expansion = float(np.mean([kind.ffn.d_ff / spec.d_model for kind in spec.layers]))
    mixtures = _mixtures(lab, layers)
    used, routed = "", ""
    if mixtures is not None:
        used = f" with all experts, {show_number(mixtures.expansion)} times with those that a token uses"
        routed = f" The choice of experts alone, without the activation function, gives {mixtures.routed_rank:.0f}."
    return Finding(
        f"The FFN is {show_number(expansion)} times as wide as d_model{used}. On {rows:,} tokens, the effective rank "
        f"is {read:.0f} for its input, {up:.0f} for the up projection before the activation, {neurons:.0f} for its "
        f"neurons, and {wrote:.0f} for its output.{routed}",
        effects(expansion, found[:, 0]),
        (
            Number("expansion_ratio", "expansion ratio d_ff / d_model", expansion, "ratio", 1.0),
            *(() if mixtures is None else mixtures.numbers),
            *_numbers("effective_rank", "effective rank", ranks),
            *_numbers("participation_ratio", "participation ratio of the spectrum", ratios),
        ),
        (
            _curve("effective rank", found[:, 0], layers),
            _curve("participation ratio of the spectrum", found[:, 1], layers),
        ),
    )


EXPERIMENT = Experiment(
    key="F3",
    title="The FFN expands to a wide space and back",
    question="How wide is the FFN, and how many dimensions do its input, its neurons and its output use?",
    method=(
        "The expansion ratio is d_ff / d_model, mean over layers; d_ff of a mixture counts all experts. The rows of "
        "the passage are centered at each place. Effective rank: exp(-Σ p ln p) with p = σ / Σσ of "
        "the singular values. Participation ratio: (Σλ)² / Σλ² of "
        f"the variances λ. Both are means over at most {MAX_LAYERS} layers and cannot exceed the number of tokens. The "
        "up projection before the activation is linear in the FFN's input, so it shows the effect of the width alone. "
        "The first token of each window is left out. In a mixture, the choice of experts adds "
        "dimensions too; the router's weights times the up projection show how many."
    ),
    rule=f"d_ff is larger than d_model, and the effective rank of the neurons is more than {WIDER:g} times that of the "
    "input, the up projection and the output.",
    source="Vaswani et al. 2017, section 3.3; Roy & Vetterli 2007, The Effective Rank",
    cost_tokens=shared_passage_only,
    measure=_measure,
)
