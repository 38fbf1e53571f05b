"""Causal tracing of facts: noise on the subject, restoration of clean values, and ablation of sublayers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from edge.change import Edit
from edge.edits import Ablate, Noise, Replace
from edge.lab.context import KnownFact, LabContext
from edge.lab.prompts import SEED
from edge.lab.sample import evenly_spaced
from edge.trace import Trace
from edge.watch import Watch
from models.sites import ATTENTION_OUTPUT, FFN_OUTPUT, layer_site

DEVIATIONS = 3.0
"""Standard deviation of the noise, in those of the subjects' embeddings (Meng et al. 2022, section 2.1)."""

WINDOW_SHARE = 1 / 3
"""Share of all layers that are restored together; Meng et al. 2022 restore 10 of 48."""

MAX_LAYERS = 7
"""Layers that are traced, evenly spaced if a decoder has more. Windows of a third of the layers overlap by half."""

RESTORATIONS = 7
"""Restorations for each layer, one at a time."""

SUBLAYERS = ("ffn", "attn")


@dataclass(frozen=True)
class Fact:
    """A fact that the model knows, with the trace of the clean prompt."""

    known: KnownFact
    clean: Trace

    @property
    def subject_end(self) -> int:
        """The last token of the subject."""
        return self.known.subject[-1]

    @property
    def prompt_end(self) -> int:
        """The last token of the prompt, before the answer."""
        return len(self.known.ids) - 1

    def restored(self, sites: Sequence[str], tokens: tuple[int, ...]) -> list[Edit]:
        """Edits that restore the clean values in a corrupted pass."""
        return [Replace(site, tokens, self.clean.site(site)[list(tokens)]) for site in sites]

    def borrowed(self, sites: Sequence[str], other: "Fact") -> list[Edit]:
        """Edits that put the values of another fact at the subject's last token (the baseline)."""
        rows = slice(other.subject_end, other.subject_end + 1)
        return [Replace(site, (self.subject_end,), other.clean.site(site)[rows]) for site in sites]


@dataclass(frozen=True)
class Traced:
    """Total and indirect effects on the probability of the answer, for each fact and layer.

    Attributes:
        total: Total effect: decrease of the answer's probability by noise on the subject.
        subject_end: Indirect effect of each sublayer, restored at the subject's last token.
        borrowed: The same for the FFN, with values of the next fact, which should restore nothing.
        subject: Indirect effects, restored at all tokens of the subject.
        prompt_end: Indirect effects, restored at the last token of the prompt.
    """

    total: Float64[np.ndarray, " fact"]
    subject_end: Float64[np.ndarray, "fact layer sublayer"]
    borrowed: Float64[np.ndarray, "fact layer"]
    subject: Float64[np.ndarray, "fact layer sublayer"]
    prompt_end: Float64[np.ndarray, "fact layer sublayer"]


def traced_layers(n_layers: int) -> list[int]:
    """The layers that are restored or ablated, the first and the last among them."""
    return evenly_spaced(n_layers, MAX_LAYERS)


def middle_layers(n_layers: int) -> list[int]:
    """Indices of the traced layers whose windows contain neither the first nor the last layer."""
    ends = {0, n_layers - 1}
    return [
        place for place, layer in enumerate(traced_layers(n_layers)) if not ends & set(window_layers(layer, n_layers))
    ]


def window_size(n_layers: int) -> int:
    """Layers that are restored together."""
    return max(1, round(WINDOW_SHARE * n_layers))


def window_layers(layer: int, n_layers: int) -> range:
    """The layers that are restored around a layer; fewer near the first and the last layer."""
    width = window_size(n_layers)
    first = layer - width // 2
    return range(max(0, first), min(n_layers, first + width))


def window_sites(layer: int, n_layers: int, sublayer: str) -> list[str]:
    """The sites where a sublayer is restored around a layer."""
    return [layer_site(one, f"{sublayer}.output") for one in window_layers(layer, n_layers)]


def clean_traces(lab: LabContext, known: Sequence[KnownFact]) -> list[Fact]:
    """Facts with the traces of their prompts."""
    watch = Watch(parts=("input", ATTENTION_OUTPUT, FFN_OUTPUT, "output"))
    return [Fact(one, lab.run(one.ids, watch=watch)) for one in known]


def embedding_deviation(known: Sequence[Fact]) -> float:
    """The standard deviation of the first layer's input at the subjects' tokens."""
    rows = [fact.clean.site(layer_site(0, "input"))[list(fact.known.subject)] for fact in known]
    return float(np.concatenate(rows).std(dtype=np.float64))


def restorations(fact: Fact, other: Fact, layer: int, n_layers: int) -> Iterator[list[Edit]]:
    """The edits that restore values around one layer, in the order of `Traced`."""
    windows = [window_sites(layer, n_layers, sublayer) for sublayer in SUBLAYERS]
    yield from (fact.restored(sites, (fact.subject_end,)) for sites in windows)
    yield fact.borrowed(windows[0], other)
    yield from (fact.restored(sites, fact.known.subject) for sites in windows)
    yield from (fact.restored(sites, (fact.prompt_end,)) for sites in windows)


def trace_edits(fact: Fact, other: Fact, noise: Noise, n_layers: int) -> list[list[Edit]]:
    """The edits of the corrupted pass, then of the corrupted pass with each restoration."""
    restoring = (edits for layer in traced_layers(n_layers) for edits in restorations(fact, other, layer, n_layers))
    return [[noise], *([noise, *edits] for edits in restoring)]


def trace_facts(lab: LabContext, known: Sequence[Fact]) -> Traced:
    """Causal tracing: `P(answer)` clean, with a corrupted subject, and with clean values restored."""
    n_layers, deviation = lab.spec.n_layers, DEVIATIONS * embedding_deviation(known)
    totals, effects = [], []
    for number, fact in enumerate(known):
        other = known[(number + 1) % len(known)]
        noise = Noise(fact.known.subject, deviation, SEED + number)
        corrupted, *restored = lab.probabilities(fact.known, trace_edits(fact, other, noise, n_layers))
        totals.append(fact.known.probability - corrupted)
        effects.append(np.array(restored).reshape(-1, RESTORATIONS) - corrupted)
    found = np.array(effects)
    return Traced(np.array(totals), found[..., :2], found[..., 2], found[..., 3:5], found[..., 5:])


def ablate_facts(lab: LabContext, known: Sequence[Fact]) -> Float64[np.ndarray, "fact layer sublayer"]:
    """The decrease of the answer's probability when one sublayer is ablated."""
    sites = [
        [Ablate(layer_site(layer, sublayer))] for layer in traced_layers(lab.spec.n_layers) for sublayer in SUBLAYERS
    ]
    lost = [fact.known.probability - np.array(lab.probabilities(fact.known, sites)) for fact in known]
    return np.reshape(lost, (len(known), -1, len(SUBLAYERS)))


def fact_tokens(known: KnownFact, n_layers: int) -> int:
    """Tokens that all functions of this module feed for one fact."""
    layers, ids = len(traced_layers(n_layers)), len(known.ids)
    traced = ids + RESTORATIONS * layers * (ids - known.subject[0])  # the first pass shares no prefix
    return ids + traced + len(SUBLAYERS) * layers * ids
