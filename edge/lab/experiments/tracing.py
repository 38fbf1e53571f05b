"""Causal tracing of facts: subjects are blurred, clean values restored; and sublayers silenced, one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from edge.edits import Edit, Noise, Replace, Silence
from edge.lab.prompts import SEED
from edge.lab.subject import Known, Subject
from edge.trace import Trace
from edge.watch import Watch
from models.sites import layer_site

DRAWS = 2
"""Of noise, for each fact."""

DEVIATIONS = 3.0
"""Of the embeddings of subjects: the noise of Meng et al. 2022, section 2.1."""

WINDOW_SHARE = 1 / 3
"""Of all layers, restored together; Meng et al. 2022 restore 10 of 48."""

MOST_LAYERS = 12
"""Layers tried, spread evenly where a decoder has more: each costs about 270 passes."""

SUBLAYERS = ("ffn", "attn")


@dataclass(frozen=True)
class Fact:
    """A fact that the model knows, with what it computes on the prompt as it stands."""

    known: Known
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
    """Means over facts and draws of noise, in probability of the answer; what restoring brings back, layer by layer.

    Attributes:
        total: What corruption of the subject costs.
        subject_end: By each sublayer at the subject's last token.
        borrowed: The same with values of the next fact, which should bring nothing back.
        subject: At all tokens of the subject.
        prompt_end: At the last token of the prompt.
        state: By the residual stream after a layer, at the subject's last token.
    """

    total: float
    subject_end: Float64[np.ndarray, "layer sublayer"]
    borrowed: Float64[np.ndarray, "layer sublayer"]
    subject: Float64[np.ndarray, "layer sublayer"]
    prompt_end: Float64[np.ndarray, "layer sublayer"]
    state: Float64[np.ndarray, " layer"]


@dataclass(frozen=True)
class Silenced:
    """Means over facts: what is lost, in probability of the answer, where one sublayer adds nothing.

    Attributes:
        subject_end: At the subject's last token alone.
        everywhere: At all tokens.
    """

    subject_end: Float64[np.ndarray, "layer sublayer"]
    everywhere: Float64[np.ndarray, "layer sublayer"]


def tried_layers(n_layers: int) -> list[int]:
    """The layers that are restored or silenced, the first and the last among them."""
    return sorted({round(layer) for layer in np.linspace(0, n_layers - 1, min(n_layers, MOST_LAYERS)).tolist()})


def window_size(n_layers: int) -> int:
    """Layers that are restored together."""
    return max(1, round(WINDOW_SHARE * n_layers))


def window_sites(layer: int, n_layers: int, sublayer: str) -> list[str]:
    """Where a sublayer is restored around a layer, fewer at both ends of the stack."""
    width = window_size(n_layers)
    first = layer - width // 2
    return [layer_site(one, f"{sublayer}.output") for one in range(max(0, first), min(n_layers, first + width))]


def watched(subject: Subject, known: Sequence[Known]) -> list[Fact]:
    """Facts with what the model computes on their prompts."""
    watch = Watch(parts=("input", "attn.output", "ffn.output", "output"))
    return [Fact(one, subject.see(one.ids, watch=watch)) for one in known]


def embedding_deviation(known: Sequence[Fact]) -> float:
    """The standard deviation of all numbers that enter the first layer at tokens of subjects."""
    rows = [fact.clean.site(layer_site(0, "input"))[list(fact.known.subject)] for fact in known]
    return float(np.concatenate(rows).std(dtype=np.float64))


def restorations(fact: Fact, other: Fact, layer: int, n_layers: int) -> Iterator[list[Edit]]:
    """What is put into corrupted passes for one layer, in the order of `Traced`."""
    windows = [window_sites(layer, n_layers, sublayer) for sublayer in SUBLAYERS]
    yield from (fact.restored(sites, (fact.subject_end,)) for sites in windows)
    yield from (fact.borrowed(sites, other) for sites in windows)
    yield from (fact.restored(sites, fact.known.subject) for sites in windows)
    yield from (fact.restored(sites, (fact.prompt_end,)) for sites in windows)
    yield fact.restored([layer_site(layer, "output")], (fact.subject_end,))


def passes(n_layers: int) -> int:
    """Passes over the prompt of each fact, all of this module together."""
    layers = len(tried_layers(n_layers))
    return 1 + DRAWS * (1 + 9 * layers) + 4 * layers


def trace_facts(subject: Subject, known: Sequence[Fact]) -> Traced:
    """Causal tracing: `P(answer)` clean, with a corrupted subject, and with parts of the clean pass put back."""
    n_layers, deviation = subject.spec.n_layers, DEVIATIONS * embedding_deviation(known)
    totals, effects = [], []
    for number, fact in enumerate(known):
        other = known[(number + 1) % len(known)]
        for draw in range(DRAWS):
            noise = Noise(fact.known.subject, deviation, SEED + DRAWS * number + draw)
            corrupted = subject.probability(fact.known, [noise])
            totals.append(fact.known.probability - corrupted)
            for layer in tried_layers(n_layers):
                for edits in restorations(fact, other, layer, n_layers):
                    effects.append(subject.probability(fact.known, [noise, *edits]) - corrupted)
    by_layer = np.reshape(effects, (len(totals), -1, 9)).mean(axis=0)
    subject_end, borrowed, whole, prompt_end = (by_layer[:, start : start + 2] for start in range(0, 8, 2))
    return Traced(float(np.mean(totals)), subject_end, borrowed, whole, prompt_end, by_layer[:, 8])


def silence_facts(subject: Subject, known: Sequence[Fact]) -> Silenced:
    """Every tried sublayer silenced by itself."""
    lost = [
        fact.known.probability - subject.probability(fact.known, [Silence(layer_site(layer, sublayer), tokens)])
        for fact in known
        for layer in tried_layers(subject.spec.n_layers)
        for sublayer in SUBLAYERS
        for tokens in ((fact.subject_end,), None)
    ]
    by_layer = np.reshape(lost, (len(known), -1, 2, 2)).mean(axis=0)
    return Silenced(by_layer[..., 0], by_layer[..., 1])
