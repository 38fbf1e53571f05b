"""What a page shows of a trace: maps of attention, shares of silent neurons, one number for each token."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from edge.attention_pattern import visible_keys
from edge.measure.attention import entropy_bits, first_token_share
from edge.measure.registry import MEASURES
from edge.picture.levels import Linear, Log
from edge.report.byte_levels import blocks, quantized_text, to_byte_levels
from edge.trace import Trace
from models.log_probabilities import target_log_probabilities
from models.progress import Progress
from models.sites import LOGITS, layer_site

WEIGHTS = Log(1e-4, 1.0)
"""Attention weights: everything at or below a ten-thousandth is the lowest level."""

MAP_CELLS = 256
"""Rows and columns of one attention map at most."""

MAPS_BYTES = 700_000
"""Base64 that all attention maps of a page take at most; larger blocks of tokens share a cell until they do."""

COLUMNS = 512
"""Columns of a map of sparsity at most."""


@dataclass(frozen=True)
class AttentionMaps:
    """Where tokens look, for the layers that were watched.

    Attributes:
        layers: The layers, in order.
        block: Tokens on each side of a map's cell; a cell is the largest weight of its block.
        levels: Fine levels of the weights on `WEIGHTS`.
        entropy_bits: Of each row of the pattern.
        first_token_share: What each row gives to the first token.
        not_ablated: Heads that no edit ablates: means are over these.
    """

    layers: tuple[int, ...]
    block: int
    levels: UInt8[np.ndarray, "layer head row column"]
    entropy_bits: Float32[np.ndarray, "layer head token"]
    first_token_share: Float32[np.ndarray, "layer head token"]
    not_ablated: Bool[np.ndarray, "layer head"]


@dataclass(frozen=True)
class FfnSparsity:
    """Every sparsity measure of each FFN, for the layers that were watched.

    Ablated neurons are not counted, and a layer whose FFN is ablated is left out.

    Attributes:
        values: By key of `edge.measure.registry.MEASURES`.
    """

    layers: tuple[int, ...]
    values: Mapping[str, Float32[np.ndarray, "layer token"]]


def watched_layers(trace: Trace, *parts: str) -> tuple[int, ...]:
    """Layers of which all these parts were watched; none where no token was fed."""
    layers = range(trace.spec.n_layers) if trace.n_fed else ()
    return tuple(layer for layer in layers if {layer_site(layer, part) for part in parts} <= trace.sites.keys())


def attention_maps(trace: Trace, progress: Progress, most_bytes: int = MAPS_BYTES) -> AttentionMaps | None:
    """Every head's map, as fine as `most_bytes` of base64 allow; None where no layer's attention was watched."""
    layers, heads, tokens = watched_layers(trace, "attn.query", "attn.key"), trace.spec.n_heads, trace.n_fed
    if not layers:
        return None
    block = _doubled_until(1, lambda block: -(-tokens // block) <= MAP_CELLS)
    cells = -(-tokens // block)
    levels = np.zeros((len(layers), heads, cells, cells), np.uint8)
    entropy = np.zeros((len(layers), heads, tokens), np.float32)
    first = np.zeros((len(layers), heads, tokens), np.float32)
    for place, layer in enumerate(layers):
        progress(f"attention of layer {layer}, {place + 1} of {len(layers)}")
        hidden = ~visible_keys(tokens, tokens, trace.spec.layers[layer].window)
        for head in range(heads):
            pattern = trace.pattern(layer, head)
            levels[place, head] = blocks(to_byte_levels(pattern, WEIGHTS, hidden), block)
            entropy[place, head], first[place, head] = entropy_bits(pattern), first_token_share(pattern)
    wider = _doubled_until(1, lambda wider: len(quantized_text(blocks(levels, wider))) <= most_bytes)
    acting = np.array([[not trace.ablated.has_head(layer, head) for head in range(heads)] for layer in layers])
    return AttentionMaps(layers, block * wider, blocks(levels, wider), entropy, first, acting)


def _doubled_until(size: int, fits: Callable[[int], bool]) -> int:
    while not fits(size) and size < 2**20:
        size *= 2
    return size


def ffn_sparsity(trace: Trace) -> FfnSparsity | None:
    """Every measure of every watched layer and token; None where there is none of which any neuron acts."""
    layers = tuple(layer for layer in watched_layers(trace, "ffn.neurons") if len(trace.acting(layer)))
    if not layers:
        return None
    neurons = [trace.acting_neurons(layer) for layer in layers]
    return FfnSparsity(layers, {one.key: np.stack([one.of(rows) for rows in neurons]) for one in MEASURES})


def share_scale(shares: Float32[np.ndarray, "layer token"]) -> Linear:
    """From the tenth below the smallest share to the tenth above the largest."""
    low, high = float(np.floor(shares.min() * 10) / 10), float(np.ceil(shares.max() * 10) / 10)
    return Linear(min(low, 0.9), max(high, min(low, 0.9) + 0.1))


def in_columns(shares: Float32[np.ndarray, "layer token"]) -> tuple[int, Float32[np.ndarray, "layer column"]]:
    """Tokens a column, and the mean share of each column; one token a column where they fit."""
    layers, tokens = shares.shape
    wide = -(-tokens // COLUMNS)
    padded = np.pad(shares, ((0, 0), (0, -tokens % wide)), constant_values=np.nan)
    return wide, np.asarray(np.nanmean(padded.reshape(layers, -1, wide), axis=2), np.float32)


def logprobs_of(trace: Trace) -> Float32[np.ndarray, " token"]:
    """Natural log-probability the model gave each token, nats; NaN where it was not kept.

    A prompt's tokens have one where the logits were watched; the first token, which nothing foretold, never has.
    """
    told = np.full(len(trace.tokens), np.nan, np.float32)
    if LOGITS in trace.sites and len(trace.tokens) > 1:
        logits = trace.site(LOGITS)[: len(trace.tokens) - 1]
        told[1 : len(logits) + 1] = target_log_probabilities(logits, np.array(trace.tokens[1 : len(logits) + 1]))
    told[trace.prompt_length : trace.prompt_length + len(trace.logprobs)] = trace.logprobs
    return told
