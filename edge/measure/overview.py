"""One number for every head, and for the FFN of every layer and token: a whole trace at a glance."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

from edge.measure.attention import entropy_bits, first_token_share
from edge.measure.sparsity import exact_zero_share, top_p_sparsity
from edge.trace import Trace
from models.sites import layer_site


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Scores of a trace; NaN where a layer was not watched, or is not measured yet.

    Attributes:
        entropy_bits: Mean entropy of each head's rows after the first token's, in bits.
        first_token_share: Mean share those rows give to the first token, 0 to 1.
        exact_zero: Share of FFN neurons that are exactly 0, for each token fed.
        top_p: Share of FFN neurons that the others outweigh nine to one, for each token fed.
    """

    entropy_bits: Float32[np.ndarray, "layer head"]
    first_token_share: Float32[np.ndarray, "layer head"]
    exact_zero: Float32[np.ndarray, "layer token"]
    top_p: Float32[np.ndarray, "layer token"]

    @classmethod
    def unknown(cls, n_layers: int, n_heads: int, tokens: int) -> "Overview":
        """Nothing measured yet."""
        heads, rows = np.full((n_layers, n_heads), np.nan, np.float32), np.full((n_layers, tokens), np.nan, np.float32)
        return cls(entropy_bits=heads, first_token_share=heads.copy(), exact_zero=rows, top_p=rows.copy())


def survey(trace: Trace) -> Iterator[Overview]:
    """Measures a trace layer by layer; yields what is known after each one."""
    known = Overview.unknown(trace.spec.n_layers, trace.spec.n_heads, trace.n_fed)
    for layer in range(trace.spec.n_layers):
        known = _measure_ffn(trace, layer, _measure_heads(trace, layer, known))
        yield known


def _measure_heads(trace: Trace, layer: int, known: Overview) -> Overview:
    watched = {layer_site(layer, "attn.query"), layer_site(layer, "attn.key")} <= trace.sites.keys()
    if not watched or trace.n_fed < 2:
        return known
    entropy, first = known.entropy_bits.copy(), known.first_token_share.copy()
    for head in range(trace.spec.n_heads):
        rows = trace.pattern(layer, head)[1:]
        entropy[layer, head] = entropy_bits(rows).mean()
        first[layer, head] = first_token_share(rows).mean()
    return replace(known, entropy_bits=entropy, first_token_share=first)


def _measure_ffn(trace: Trace, layer: int, known: Overview) -> Overview:
    if layer_site(layer, "ffn.neurons") not in trace.sites:
        return known
    exact_zero, top_p, neurons = known.exact_zero.copy(), known.top_p.copy(), trace.neurons(layer)
    exact_zero[layer] = exact_zero_share(neurons)
    top_p[layer] = top_p_sparsity(neurons)
    return replace(known, exact_zero=exact_zero, top_p=top_p)
