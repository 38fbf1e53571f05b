"""R1: specialization of experts: the same experts for the same token, against choices shuffled between tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from edge.lab.claim import Experiment, Finding, Number, layer_curve, not_applicable, shared_passage_only
from edge.lab.context import WINDOW_TOKENS, LabContext
from edge.lab.effect import MIN_SAMPLE, Effect, effect_of
from edge.lab.experiments.ffn_activations import site_after_first
from edge.lab.sample import Interval, evenly_spaced, jackknife
from edge.measure.routing import chance_of_sharing, load, shared_choices
from edge.picture.units import show_measured, show_share
from models.sites import CHOSEN
from models.spec import MoE

SPECIALIZED = 0.1
"""Agreement beyond chance above which experts are specialized: a tenth of the way to a choice by the token alone."""

MAX_LAYERS = 12
"""Mixtures that are measured, evenly spaced if a decoder has more."""

OFTEN = 20
"""Occurrences from which on a token can be the example."""

COMPARED = {
    "token": "the same token in two windows",
    "next_token": "different tokens with the same next token, in two windows",
    "position": "the same position in two windows",
    "neighbor": "a token and the previous one",
}
"""The pairs of tokens that are compared."""

Chosen = Int64[np.ndarray, "token slot"]


@dataclass(frozen=True)
class Passage:
    """The tokens of the passage without the first of each window; `next_token` is the text's."""

    token: Int64[np.ndarray, " token"]
    next_token: Int64[np.ndarray, " token"]
    position: Int64[np.ndarray, " token"]
    window: Int64[np.ndarray, " token"]

    @property
    def windows(self) -> Int64[np.ndarray, " window"]:
        """The numbers of the windows."""
        return np.unique(self.window)


@dataclass(frozen=True)
class Example:
    """A frequent token and an expert that it often chooses.

    Attributes:
        share: Share of the token's occurrences that choose the expert.
        of_all: Share of all tokens that do.
    """

    token: int
    expert: int
    share: float
    of_all: float


@dataclass(frozen=True)
class Layer:
    """The choices of one layer.

    Attributes:
        shared: For each entry of `COMPARED` and two windows: experts shared, and how many could be.
        chosen: The chosen experts.
    """

    kind: MoE
    shared: Float64[np.ndarray, "compared window window 2"]
    chosen: Chosen

    def share(self, windows: Int64[np.ndarray, " some"]) -> Float64[np.ndarray, " compared"]:
        """The share of experts in common, over the pairs within these windows; NaN without pairs."""
        shared, most = self.shared[:, windows][:, :, windows].sum(axis=(1, 2)).T
        return np.asarray(np.divide(shared, most, out=np.full(len(most), np.nan), where=most > 0))


def passage(lab: LabContext) -> Passage:
    """The tokens that are compared."""
    rows = [
        (id, target, place, number)
        for number, window in enumerate(lab.windows)
        for place, (id, target) in enumerate(zip(window.ids, window.targets, strict=True))
        if place
    ]
    return Passage(*np.array(rows, np.int64).reshape(-1, 4).T)


def layer_of(text: Passage, chosen: Chosen, kind: MoE) -> Layer:
    """What the tokens of one layer share."""
    both = text.token * (text.next_token.max() + 1) + text.next_token
    token, following, position, pair = (
        shared_choices(chosen, labels, text.window, kind.n_experts)
        for labels in (text.token, text.next_token, text.position, both)
    )
    across = np.stack([token, following - pair, position])
    across[:, range(len(token)), range(len(token))] = 0  # pairs within a window
    return Layer(kind, np.concatenate([across, _with_previous(text, chosen)[None]]), chosen)


def _with_previous(text: Passage, chosen: Chosen) -> Float64[np.ndarray, "window window 2"]:
    """Experts that tokens share with the previous token, on the diagonal: both are in the same window."""
    found = np.zeros((text.window.max() + 1, text.window.max() + 1, 2))
    shared = (chosen[1:, :, None] == chosen[:-1, None, :]).sum(axis=(1, 2))
    for window in text.windows:
        within = (text.window[1:] == window) & (text.window[:-1] == window)
        found[window, window] = shared[within].sum(), chosen.shape[1] * within.sum()
    return found


def agreement(
    text: Passage, layers: Sequence[Layer], windows: Int64[np.ndarray, " some"]
) -> Float64[np.ndarray, " compared"]:
    """`Σ_l (share - chance) / Σ_l (1 - chance)` over layers: 0 by chance, 1 for the same experts.

    NaN if all tokens choose the same experts.
    """
    rows = np.isin(text.window, windows)
    chance = np.array([chance_of_sharing(layer.chosen[rows], layer.kind.n_experts) for layer in layers])
    share = np.array([layer.share(windows) for layer in layers])
    most = (1 - chance).sum()
    return (share - chance[:, None]).sum(axis=0) / most if most > 1e-9 else np.full(share.shape[1], np.nan)


def interval(text: Passage, layers: Sequence[Layer], compared: int) -> Interval:
    """The agreement of one kind of pairs; the units of the sample are windows, left out one at a time."""
    return jackknife(text.windows, lambda windows: float(agreement(text, layers, windows)[compared]))


def effects(same_token: Interval) -> tuple[Effect, ...]:
    """The agreement of a token's experts in two windows, beyond chance."""
    return (
        effect_of(
            same_token,
            key="same_token_agreement",
            label="agreement of the experts of the same token in two windows, beyond chance",
            unit="ratio",
            threshold=SPECIALIZED,
            threshold_reason="0 if choices are shuffled between tokens, 1 if the token alone decides; 0.1 is our own "
            "choice",
            sample_unit="windows",
        ),
    )


def examples(text: Passage, layer: Layer) -> Iterator[Example]:
    """For each frequent token, the expert that it chooses more often than others do."""
    uses = np.zeros((len(text.token), layer.kind.n_experts))
    np.put_along_axis(uses, layer.chosen, 1.0, axis=1)
    of_all = uses.mean(axis=0)
    ids, counts = np.unique(text.token, return_counts=True)
    for id in ids[counts >= OFTEN]:
        own = uses[text.token == id].mean(axis=0)
        expert = int((own - of_all).argmax())
        yield Example(int(id), expert, float(own[expert]), float(of_all[expert]))


def _example(lab: LabContext, text: Passage, layers: dict[int, Layer]) -> str:
    found = [(one, place) for place, layer in layers.items() for one in examples(text, layer)]
    if not found:
        return ""
    one, place = max(found, key=lambda pair: pair[0].share - pair[0].of_all)
    return (
        f" For example, expert {one.expert} of layer {place} is chosen at {show_share(one.share)} of the occurrences "
        f"of '{lab.tokenizer.piece(one.token)}', and at {show_share(one.of_all)} of all tokens."
    )


def measure(lab: LabContext) -> Finding:
    kinds = {layer: kind.ffn for layer, kind in enumerate(lab.spec.layers) if isinstance(kind.ffn, MoE)}
    if not kinds:
        return not_applicable("the decoder has no mixture of experts")
    text = passage(lab)
    if len(text.windows) < MIN_SAMPLE:
        window = min(WINDOW_TOKENS, lab.spec.context)
        return not_applicable(
            f"the comparison needs {MIN_SAMPLE} windows of the text; use --tokens {MIN_SAMPLE * window} and a --text "
            f"of at least {MIN_SAMPLE * window:,} tokens"
        )
    measured = [list(kinds)[place] for place in evenly_spaced(len(kinds), MAX_LAYERS)]
    layers = {
        place: layer_of(text, site_after_first(lab, place, CHOSEN).astype(np.int64), kinds[place]) for place in measured
    }
    if np.isnan(agreement(text, list(layers.values()), text.windows)).all():
        return not_applicable("every token chooses the same experts")
    return _finding(lab, text, layers)


def _finding(lab: LabContext, text: Passage, layers: dict[int, Layer]) -> Finding:
    every = list(layers.values())
    found = dict(zip(COMPARED, agreement(text, every, text.windows).tolist(), strict=True))
    shared = float(np.mean([layer.share(text.windows)[0] for layer in every]))
    chance = float(np.mean([chance_of_sharing(layer.chosen, layer.kind.n_experts) for layer in every]))
    loads = [load(layer.chosen, layer.kind.n_experts) for layer in every]
    busiest, idlest = (float(np.mean([of(one) for one in loads])) for of in (np.max, np.min))
    even = float(np.mean([1 / layer.kind.n_experts for layer in every]))
    by_layer = [agreement(text, [layer], text.windows) for layer in every]
    return Finding(
        f"The same token in two windows has {show_share(shared)} of its experts in common, two tokens by chance "
        f"{show_share(chance)}: an agreement beyond chance of {show_measured(found['token'], 'ratio')}. For the same "
        f"position it is {show_measured(found['position'], 'ratio')}, for a token and the previous one "
        f"{show_measured(found['neighbor'], 'ratio')}. On average over layers, the busiest expert has "
        f"{show_share(busiest)} of all choices, the least used one {show_share(idlest)} (even: {show_share(even)})."
        f"{_example(lab, text, layers)}",
        effects(interval(text, every, 0)),
        (
            Number(
                "same_token_share", "share of experts in common, the same token in two windows", shared, "share", chance
            ),
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
                "agreement",
                dict(zip(COMPARED.values(), np.array(by_layer).T, strict=True)),
                layers,
            ),
        ),
    )


EXPERIMENT = Experiment(
    key="R1",
    title="Experts specialize by token",
    question="Does it depend on the token which experts of a mixture are used?",
    method=(
        "A is the set of k experts that the router chooses at a token. The share of experts that two tokens have in "
        "common is `|A ∩ B| / k`. Chance is its mean over all pairs of tokens of the layer: the expected value if the "
        "choices are shuffled between tokens. A shuffle keeps the load of every expert. The agreement beyond chance is "
        "`Σ (share - chance) / Σ (1 - chance)` over layers, as in Krippendorff's α. The effect compares the same token "
        "in two windows of the passage, so in two contexts. Other numbers compare different tokens with the same next "
        f"token, tokens at the same position, and neighbors. At most {MAX_LAYERS} layers. The first token of each "
        "window is left out. The interval is the jackknife over windows, chance included."
    ),
    rule=f"The agreement of the experts of the same token in two windows, beyond chance, is above {SPECIALIZED:g}.",
    source=(
        "Xue et al. 2024, OpenMoE (arXiv 2402.01739), section 4, specialization by token and by position; Jiang et al. "
        "2024, Mixtral (2401.04088), section 5, repeated choices of neighbors; Muennighoff et al. 2024, OLMoE "
        "(2409.02060), section 5, by vocabulary; Krippendorff 1970"
    ),
    cost_tokens=shared_passage_only,
    measure=measure,
)
