"""Heads, neurons, experts and sublayers that the edits of a run ablate: their output is 0 at every token."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from models.sites import ATTENTION_OUTPUT, FFN_OUTPUT, HEADS, NEURONS, ROUTER

_ABLATED = re.compile(r"(head|neuron|expert) (\d{1,9})\.(\d{1,9}) ablated|(attention|FFN) of layer (\d{1,9}) ablated")
_REPLACED = re.compile(r"layers\.(\d{1,9})\.((?:attn|ffn)\.(?:heads|neurons|router|output)) replaced\b.*")

_SITE_OF = {"head": HEADS, "neuron": NEURONS, "expert": ROUTER, "attention": ATTENTION_OUTPUT, "FFN": FFN_OUTPUT}


@dataclass(frozen=True)
class Ablated:
    """Ablated components of a decoder.

    Attributes:
        heads: Pairs of layer and head.
        neurons: Pairs of layer and neuron.
        attentions: Layers whose attention adds 0.
        ffns: Layers whose FFN adds 0.
        experts: Pairs of layer and expert: the weight that the router gives it is 0.
    """

    heads: frozenset[tuple[int, int]] = frozenset()
    neurons: frozenset[tuple[int, int]] = frozenset()
    attentions: frozenset[int] = frozenset()
    ffns: frozenset[int] = frozenset()
    experts: frozenset[tuple[int, int]] = frozenset()

    def has_head(self, layer: int, head: int) -> bool:
        """Whether a head is ablated, alone or with its whole sublayer."""
        return layer in self.attentions or (layer, head) in self.heads

    def has_neuron(self, layer: int, neuron: int) -> bool:
        """Whether a neuron is ablated, alone or with its whole FFN."""
        return layer in self.ffns or (layer, neuron) in self.neurons

    @property
    def ffn_layers(self) -> frozenset[int]:
        """Layers whose FFN is ablated or has an ablated neuron or expert."""
        return self.ffns | {layer for layer, _ in self.neurons | self.experts}

    @property
    def layers(self) -> frozenset[int]:
        """Layers in which anything is ablated."""
        return self.ffn_layers | self.attentions | {layer for layer, _ in self.heads}

    def heads_of(self, layer: int, n_heads: int) -> tuple[int, ...]:
        """Ablated heads of a layer; all heads if its attention is ablated."""
        return tuple(head for head in range(n_heads) if self.has_head(layer, head))

    def neurons_of(self, layer: int) -> tuple[int, ...]:
        """Neurons of a layer that are ablated individually, in ascending order.

        Those of ablated experts depend on the size of an expert: see `edge.mixture_neurons.ablated_neurons`.
        """
        return tuple(sorted(neuron for of, neuron in self.neurons if of == layer))

    def experts_of(self, layer: int) -> tuple[int, ...]:
        """Ablated experts of a layer, in ascending order."""
        return tuple(sorted(expert for of, expert in self.experts if of == layer))


def ablated(edits: Iterable[object]) -> Ablated:
    """The components that edits ablate, parsed from the names of the edits (`str(edit)`, or `Trace.edits`).

    Excludes ablations at some tokens only, and ablations of a site that a later edit replaces.
    """
    found: set[tuple[int, str, int]] = set()
    for edit in map(str, edits):
        if one := _ABLATED.fullmatch(edit):
            kind, place, index, sublayer, layer = one.groups()
            found.add((int(place or layer), _SITE_OF[kind or sublayer], int(index or 0)))
        elif one := _REPLACED.fullmatch(edit):
            site = int(one[1]), one[2]
            found = {place for place in found if place[:2] != site}

    def at(site: str) -> frozenset[tuple[int, int]]:
        return frozenset((layer, index) for layer, part, index in found if part == site)

    attentions, ffns = at(ATTENTION_OUTPUT), at(FFN_OUTPUT)
    return Ablated(
        heads=at(HEADS),
        neurons=at(NEURONS),
        attentions=frozenset(layer for layer, _ in attentions),
        ffns=frozenset(layer for layer, _ in ffns),
        experts=at(ROUTER),
    )
