"""The overview of a trace: scores of every head, and sparsity and norms of each sublayer at each token."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float32

from edge.measure.attention import entropy_bits, first_token_share, mean_after_first, mean_distance, prefix_matching
from edge.measure.attribution import write_norms
from edge.measure.heads import previous_token_score
from edge.measure.registry import MEASURES
from edge.trace import Trace
from models.sites import ATTENTION_OUTPUT, FFN_OUTPUT, KEY, NEURONS, QUERY, layer_site

Heads = Float32[np.ndarray, "layer head"]
Tokens = Float32[np.ndarray, "layer token"]


@dataclass(frozen=True, kw_only=True)
class HeadScores:
    """Scores of every head; NaN if not measured, and for ablated heads.

    Rows of the first token are left out.

    Attributes:
        entropy_bits: Mean entropy of the head's rows.
        first_token: Mean attention to the first token, 0 to 1.
        previous_token: Mean attention to the previous token, 0 to 1.
        induction: Induction score, 0 to 1; NaN if no token is repeated.
        distance_tokens: Mean attention distance.
    """

    entropy_bits: Heads
    first_token: Heads
    previous_token: Heads
    induction: Heads
    distance_tokens: Heads


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Scores of a trace; NaN for a layer that was not recorded, or is not measured yet.

    Ablated neurons are not counted; an ablated FFN has NaN.

    Attributes:
        sparsity: By key of `edge.measure.registry.MEASURES`, for each token fed.
        attn_write: L2 norm of attention's contribution to the residual stream.
        ffn_write: L2 norm of the FFN's contribution to it.
    """

    heads: HeadScores
    sparsity: Mapping[str, Tokens]
    attn_write: Tokens
    ffn_write: Tokens

    @classmethod
    def unknown(cls, n_layers: int, n_heads: int, tokens: int) -> "Overview":
        """An overview without measurements."""

        def row() -> Tokens:
            return np.full((n_layers, tokens), np.nan, np.float32)

        heads = {field.name: np.full((n_layers, n_heads), np.nan, np.float32) for field in fields(HeadScores)}
        sparsity = {measure.key: row() for measure in MEASURES}
        return cls(heads=HeadScores(**heads), sparsity=sparsity, attn_write=row(), ffn_write=row())

    def head_mean(self, name: str, layer: int) -> float | None:
        """Mean of a score of `HeadScores` over the heads of a layer; None where it is known for none."""
        return _mean_of_known(getattr(self.heads, name)[layer])

    def sparsity_mean(self, key: str, layer: int) -> float | None:
        """Mean of a sparsity measure over the tokens of a layer; None where it is known for none."""
        return _mean_of_known(self.sparsity[key][layer])

    def _copy(self) -> "Overview":
        heads = {field.name: getattr(self.heads, field.name).copy() for field in fields(HeadScores)}
        sparsity = {key: values.copy() for key, values in self.sparsity.items()}
        writes = {"attn_write": self.attn_write.copy(), "ffn_write": self.ffn_write.copy()}
        return Overview(heads=HeadScores(**heads), sparsity=sparsity, **writes)


def _mean_of_known(values: Float32[np.ndarray, "_"]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean(dtype=np.float64)) if known.size else None


def survey(trace: Trace) -> Iterator[Overview]:
    """Measures a trace layer by layer; yields the overview after each layer."""
    known = Overview.unknown(trace.spec.n_layers, trace.spec.n_heads, trace.n_fed)
    for layer in range(trace.spec.n_layers):
        known = known._copy()
        _measure_heads(trace, layer, known.heads)
        _measure_ffn(trace, layer, known)
        _measure_writes(trace, layer, known)
        yield known


def _measure_heads(trace: Trace, layer: int, scores: HeadScores) -> None:
    watched = {layer_site(layer, QUERY), layer_site(layer, KEY)} <= trace.sites.keys()
    if not watched or trace.n_fed < 2:
        return
    ids = np.array(trace.tokens[: trace.n_fed])
    for head in range(trace.spec.n_heads):
        if trace.ablated.has_head(layer, head):
            continue
        pattern = trace.pattern(layer, head)
        scores.entropy_bits[layer, head] = mean_after_first(entropy_bits(pattern))
        scores.first_token[layer, head] = mean_after_first(first_token_share(pattern))
        scores.previous_token[layer, head] = previous_token_score(pattern)
        scores.induction[layer, head] = prefix_matching(pattern, ids)
        scores.distance_tokens[layer, head] = mean_after_first(mean_distance(pattern))


def _measure_ffn(trace: Trace, layer: int, known: Overview) -> None:
    if layer_site(layer, NEURONS) not in trace.sites:
        return
    neurons = trace.acting_neurons(layer)
    if neurons.shape[1] < 2:
        return
    for measure in MEASURES:
        known.sparsity[measure.key][layer] = measure.of(neurons)


def _measure_writes(trace: Trace, layer: int, known: Overview) -> None:
    for part, lengths in ((ATTENTION_OUTPUT, known.attn_write), (FFN_OUTPUT, known.ffn_write)):
        if (site := layer_site(layer, part)) in trace.sites:
            lengths[layer] = write_norms(trace.site(site)[None])[0]
