"""Causal tracing of facts: subjects are blurred, clean values restored; and sublayers ablated, one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from edge.edits import Ablate, Edit, Noise, Replace
from edge.lab.context import KnownFact, LabContext
from edge.lab.prompts import SEED
from edge.lab.sample import evenly_spaced
from edge.trace import Trace
from edge.watch import Watch
from models.sites import layer_site

DEVIATIONS = 3.0
"""Of the embeddings of subjects: the noise of Meng et al. 2022, section 2.1."""

WINDOW_SHARE = 1 / 3
"""Of all layers, restored together; Meng et al. 2022 restore 10 of 48."""

MAX_LAYERS = 7
"""Layers tried, spread evenly where a decoder has more: windows of a third around them overlap by half."""

RESTORATIONS = 7
"""What is put back around each layer, one at a time."""

SUBLAYERS = ("ffn", "attn")


@dataclass(frozen=True)
class Fact:
    """A fact that the model knows, with what it computes on the prompt as it stands."""

    known: KnownFact
    clean: Trace

    @property
    def subject_end(self) -> int:
        """The last token of the subject."""
        return self.known.subject[-1]

    @property
    def prompt_end(self) -> int:
        """The last token of the prompt, after which the answer comes."""
        return len(self.known.ids) - 1

    def restored(self, sites: Sequence[str], tokens: tuple[int, ...]) -> list[Edit]:
        """Its clean values in place of what a corrupted pass computes."""
        return [Replace(site, tokens, self.clean.site(site)[list(tokens)]) for site in sites]

    def borrowed(self, sites: Sequence[str], other: "Fact") -> list[Edit]:
        """At the subject's last token, the values that another fact has at its own."""
        rows = slice(other.subject_end, other.subject_end + 1)
        return [Replace(site, (self.subject_end,), other.clean.site(site)[rows]) for site in sites]


@dataclass(frozen=True)
class Traced:
    """Probability of the answer, fact by fact: what restoring brings back, layer by layer.

    Attributes:
        total: What corruption of the subject costs.
        subject_end: By each sublayer at the subject's last token.
        borrowed: By the FFN with values of the next fact, which should bring nothing back.
        subject: At all tokens of the subject.
        prompt_end: At the last token of the prompt.
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
    """Places among the tried layers whose windows hold neither the first nor the last layer of the stack."""
    ends = {0, n_layers - 1}
    return [
        place for place, layer in enumerate(traced_layers(n_layers)) if not ends & set(window_layers(layer, n_layers))
    ]


def window_size(n_layers: int) -> int:
    """Layers that are restored together."""
    return max(1, round(WINDOW_SHARE * n_layers))


def window_layers(layer: int, n_layers: int) -> range:
    """The layers that are restored around one, fewer at both ends of the stack."""
    width = window_size(n_layers)
    first = layer - width // 2
    return range(max(0, first), min(n_layers, first + width))


def window_sites(layer: int, n_layers: int, sublayer: str) -> list[str]:
    """Where a sublayer is restored around a layer."""
    return [layer_site(one, f"{sublayer}.output") for one in window_layers(layer, n_layers)]


def watched(lab: LabContext, known: Sequence[KnownFact]) -> list[Fact]:
    """Facts with what the model computes on their prompts."""
    watch = Watch(parts=("input", "attn.output", "ffn.output", "output"))
    return [Fact(one, lab.run(one.ids, watch=watch)) for one in known]


def embedding_deviation(known: Sequence[Fact]) -> float:
    """The standard deviation of all numbers that enter the first layer at tokens of subjects."""
    rows = [fact.clean.site(layer_site(0, "input"))[list(fact.known.subject)] for fact in known]
    return float(np.concatenate(rows).std(dtype=np.float64))


def restorations(fact: Fact, other: Fact, layer: int, n_layers: int) -> Iterator[list[Edit]]:
    """What is put into corrupted passes for one layer, in the order of `Traced`."""
    windows = [window_sites(layer, n_layers, sublayer) for sublayer in SUBLAYERS]
    yield from (fact.restored(sites, (fact.subject_end,)) for sites in windows)
    yield fact.borrowed(windows[0], other)
    yield from (fact.restored(sites, fact.known.subject) for sites in windows)
    yield from (fact.restored(sites, (fact.prompt_end,)) for sites in windows)


def trace_edits(fact: Fact, other: Fact, noise: Noise, n_layers: int) -> list[list[Edit]]:
    """The corrupted pass, then with each restoration."""
    put = (edits for layer in traced_layers(n_layers) for edits in restorations(fact, other, layer, n_layers))
    return [[noise], *([noise, *edits] for edits in put)]


def trace_facts(lab: LabContext, known: Sequence[Fact]) -> Traced:
    """Causal tracing: `P(answer)` clean, with a corrupted subject, and with parts of the clean pass put back."""
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
    """What is lost, in probability of the answer, where one sublayer adds nothing."""
    sites = [
        [Ablate(layer_site(layer, sublayer))] for layer in traced_layers(lab.spec.n_layers) for sublayer in SUBLAYERS
    ]
    lost = [fact.known.probability - np.array(lab.probabilities(fact.known, sites)) for fact in known]
    return np.reshape(lost, (len(known), -1, len(SUBLAYERS)))


def fact_tokens(known: KnownFact, n_layers: int) -> int:
    """Tokens that one fact feeds, all of this module together."""
    layers, ids = len(traced_layers(n_layers)), len(known.ids)
    traced = ids + RESTORATIONS * layers * (ids - known.subject[0])  # the first pass has nothing to share
    return ids + traced + len(SUBLAYERS) * layers * ids
