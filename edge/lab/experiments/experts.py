"""R1: specialization of experts: the same experts for the same token, against choices shuffled between tokens."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64

from edge.lab.claim import Experiment, Finding, Number, layer_curve, not_applicable, shared_passage_only
from edge.lab.context import LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.experiments.ffn_activations import site_after_first
from edge.lab.sample import evenly_spaced, mean_interval
from edge.measure.routing import chance_of_sharing, load, shared_choices
from edge.picture.units import show_measured
from models.sites import CHOSEN
from models.spec import MoE

SPECIALIZED = 0.1
"""Agreement beyond chance above which experts are specialized: a tenth of the way to a choice by the token alone."""

MAX_LAYERS = 12
"""Mixtures that are measured, evenly spaced if a decoder has more."""

OFTEN = 20
"""Occurrences from which on a token can be the example."""

COMPARED = {
    "token": "the same token",
    "next_token": "the same next token",
    "position": "the same position",
    "neighbor": "the previous token",
}
"""What two compared tokens have in common."""

Agreement = Float32[np.ndarray, "compared token"]


@dataclass(frozen=True)
class Passage:
    """The tokens of the passage without the first of each window; `next_token` is the text's."""

    token: Int64[np.ndarray, " token"]
    next_token: Int64[np.ndarray, " token"]
    position: Int64[np.ndarray, " token"]
    window: Int64[np.ndarray, " token"]


@dataclass(frozen=True)
class Layer:
    """The choices of one layer.

    Attributes:
        agreement: Beyond chance, for each entry of `COMPARED` and token; NaN where nothing can be compared.
        busiest, idlest: The largest and the smallest load of an expert.
        most: The token that most often chooses the same expert among the frequent ones, that expert, and the share of
            its occurrences that do; None without a frequent token.
    """

    agreement: Agreement
    busiest: float
    idlest: float
    most: tuple[int, int, float] | None


def passage(lab: LabContext) -> Passage:
    """The tokens that are compared."""
    rows = [
        (id, target, place, number)
        for number, window in enumerate(lab.windows)
        for place, (id, target) in enumerate(zip(window.ids, window.targets, strict=True))
        if place
    ]
    return Passage(*np.array(rows, np.int64).reshape(-1, 4).T)


def beyond_chance(share: Float32[np.ndarray, " token"], chance: float) -> Float32[np.ndarray, " token"]:
    """Scott's π: `(share - chance) / (1 - chance)`; 0 at chance level, 1 if the experts are always the same."""
    if not chance < 1:
        return np.full(len(share), np.nan, np.float32)  # every token has the same experts
    return np.asarray((share - np.float32(chance)) / np.float32(1 - chance), np.float32)


def layer_of(text: Passage, chosen: Int64[np.ndarray, "token slot"], kind: MoE) -> Layer:
    """The measures of one layer."""
    labels = (text.token, text.next_token, text.position)
    shares = [shared_choices(chosen, label, text.window, kind.n_experts) for label in labels]
    shares.append(_shared_with_previous(text, chosen))
    chance = chance_of_sharing(chosen, kind.n_experts)
    of_experts = load(chosen, kind.n_experts)
    return Layer(
        agreement=np.array([beyond_chance(share, chance) for share in shares]),
        busiest=float(of_experts.max()),
        idlest=float(of_experts.min()),
        most=max(_steady(text.token, chosen, kind.n_experts), key=lambda found: found[2], default=None),
    )


def _shared_with_previous(text: Passage, chosen: Int64[np.ndarray, "token slot"]) -> Float32[np.ndarray, " token"]:
    """The share of a token's experts that the previous token of its window chooses too; NaN for the first."""
    same = (chosen[1:, :, None] == chosen[:-1, None, :]).any(axis=2).mean(axis=1)
    found = np.full(len(chosen), np.nan, np.float32)
    found[1:] = np.where(text.window[1:] == text.window[:-1], same, np.nan)
    return found


def _steady(
    tokens: Int64[np.ndarray, " token"], chosen: Int64[np.ndarray, "token slot"], n_experts: int
) -> Iterator[tuple[int, int, float]]:
    """Each frequent token, the expert that it chooses most often, and the share of its occurrences that do."""
    ids, counts = np.unique(tokens, return_counts=True)
    for id in ids[counts >= OFTEN]:
        rows = chosen[tokens == id]
        uses = np.bincount(rows.ravel(), minlength=n_experts)
        yield int(id), int(uses.argmax()), float(uses.max() / len(rows))


def by_window(text: Passage, layers: list[Layer]) -> Float[np.ndarray, "compared window"]:
    """The agreement beyond chance, mean over layers and the tokens of each window; NaN where nothing is compared."""
    agreement = np.array([layer.agreement for layer in layers], np.float64)
    return np.array([_known_mean(agreement[:, :, text.window == number]) for number in np.unique(text.window)]).T


def _known_mean(agreement: Float[np.ndarray, "layer compared token"]) -> Float[np.ndarray, " compared"]:
    known = ~np.isnan(agreement)
    sums, counts = np.where(known, agreement, 0.0).sum(axis=(0, 2)), known.sum(axis=(0, 2))
    return np.asarray(np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0))


def effects(same_token: Float[np.ndarray, " window"]) -> tuple[Effect, ...]:
    """The agreement of a token's experts in two windows, beyond chance."""
    return (
        effect_of(
            mean_interval(same_token, (-1.0, 1.0)),
            key="same_token_agreement",
            label="agreement of the experts of the same token in two windows, beyond chance",
            unit="ratio",
            threshold=SPECIALIZED,
            threshold_reason="0 if choices are shuffled between tokens, 1 if the token alone decides; 0.1 is our own "
            "choice",
            sample_unit="windows",
        ),
    )


def _example(lab: LabContext, layers: list[Layer], places: list[int]) -> str:
    known = [(layer.most, place) for layer, place in zip(layers, places, strict=True) if layer.most is not None]
    if not known:
        return ""
    (id, expert, share), place = max(known, key=lambda found: found[0][2])
    return f" Expert {place}.{expert} is chosen at {share:.0%} of the occurrences of '{lab.tokenizer.piece(id)}'."


def measure(lab: LabContext) -> Finding:
    mixtures = [layer for layer, kind in enumerate(lab.spec.layers) if isinstance(kind.ffn, MoE)]
    if not mixtures:
        return not_applicable("the decoder has no mixture of experts")
    text = passage(lab)
    if len(np.unique(text.window)) < 2:
        return not_applicable("the comparison needs a longer text, with two windows")
    places = [mixtures[place] for place in evenly_spaced(len(mixtures), MAX_LAYERS)]
    kinds = [kind for kind in (lab.spec.layers[place].ffn for place in places) if isinstance(kind, MoE)]
    layers = [
        layer_of(text, site_after_first(lab, place, CHOSEN).astype(np.int64), kind)
        for place, kind in zip(places, kinds, strict=True)
    ]
    means = by_window(text, layers)
    found = dict(zip(COMPARED, (float(mean_interval(row).value) for row in means), strict=True))
    busiest, idlest = (float(np.mean([getattr(layer, name) for layer in layers])) for name in ("busiest", "idlest"))
    even = float(np.mean([1 / kind.n_experts for kind in kinds]))
    return Finding(
        "Agreement of the chosen experts beyond chance: "
        + ", ".join(f"{show_measured(found[key], 'ratio')} for {what}" for key, what in COMPARED.items())
        + f". The busiest expert of a layer has {busiest:.0%} of all choices, the least used one {idlest:.0%} "
        f"(even: {even:.0%}).{_example(lab, layers, places)}",
        effects(means[0]),
        (
            *(
                Number(f"{key}_agreement", f"agreement of experts beyond chance, {what}", found[key], "ratio", 0.0)
                for key, what in COMPARED.items()
            ),
            Number("busiest_load", "largest load of an expert, mean over layers", busiest, "share", even),
            Number("idlest_load", "smallest load of an expert, mean over layers", idlest, "share", even),
        ),
        (
            layer_curve(
                "agreement of experts beyond chance",
                "Scott's π",
                {
                    what: [_known_mean(layer.agreement[None])[row] for layer in layers]
                    for row, what in enumerate(COMPARED.values())
                },
                places,
            ),
        ),
    )


EXPERIMENT = Experiment(
    key="R1",
    title="Experts specialize by token",
    question="Do the experts of a mixture depend on which token it is, rather than on its position or its neighbors?",
    method=(
        "A is the set of k experts that the router chooses at a token. For two tokens, the shared experts are "
        "`|A ∩ B| / k`, and their agreement beyond chance is Scott's π: `(shared - chance) / (1 - chance)`. Chance is "
        "the mean over all pairs of tokens of the layer: the expected value if the choices are shuffled between "
        "tokens. A shuffle keeps the load of every expert. The effect compares the same token in two windows of the "
        "passage, so in two contexts. Other numbers compare tokens with the same next token or at the same position "
        "of two windows, and a token with the previous one. Means over the tokens that can be compared and over at "
        f"most {MAX_LAYERS} layers. The first token of each window is left out."
    ),
    rule=f"The agreement of the experts of the same token in two windows, beyond chance, is above {SPECIALIZED:g}.",
    source=(
        "Xue et al. 2024, OpenMoE (arXiv 2402.01739), section 4, specialization by token and by position; Jiang et al. "
        "2024, Mixtral (2401.04088), section 5, repeated choices of neighbors; Muennighoff et al. 2024, OLMoE "
        "(2409.02060), section 5, by vocabulary; Scott 1955"
    ),
    cost_tokens=shared_passage_only,
    measure=measure,
)
