"""The values of a trace on a page: attention weights, activation sparsity, and one number per token."""

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
from models.sites import KEY, LOGITS, NEURONS, QUERY, layer_site

WEIGHTS = Log(1e-4, 1.0)
"""The scale of attention weights: every weight up to 0.0001 has the lowest level."""

MAP_CELLS = 256
"""Most rows and columns of one attention map."""

MAPS_BYTES = 700_000
"""Most bytes of base64 for all attention maps of a page. More tokens share a cell until the maps fit."""

COLUMNS = 512
"""Most columns of a map of sparsity."""


@dataclass(frozen=True)
class AttentionMaps:
    """Attention weights of the recorded layers.

    Attributes:
        layers: The layers, in order.
        block: Tokens on each side of a cell of a map; a cell is the largest weight of its block.
        levels: Byte levels of the weights on `WEIGHTS`.
        entropy_bits: Entropy of each row of the pattern, in bits.
        first_token_share: Weight of the first token in each row.
        not_ablated: Whether no edit ablates the head; means are over these heads.
    """

    layers: tuple[int, ...]
    block: int
    levels: UInt8[np.ndarray, "layer head row column"]
    entropy_bits: Float32[np.ndarray, "layer head token"]
    first_token_share: Float32[np.ndarray, "layer head token"]
    not_ablated: Bool[np.ndarray, "layer head"]


@dataclass(frozen=True)
class FfnSparsity:
    """Every measure of activation sparsity, for the FFNs of the recorded layers.

    Ablated neurons are not counted, and a layer with an ablated FFN is left out.

    Attributes:
        values: By key of `edge.measure.registry.MEASURES`.
    """

    layers: tuple[int, ...]
    values: Mapping[str, Float32[np.ndarray, "layer token"]]


def watched_layers(trace: Trace, *parts: str) -> tuple[int, ...]:
    """Layers for which all these parts were recorded; none if no token was fed."""
    layers = range(trace.spec.n_layers) if trace.n_fed else ()
    return tuple(layer for layer in layers if {layer_site(layer, part) for part in parts} <= trace.sites.keys())


def attention_maps(trace: Trace, progress: Progress, most_bytes: int = MAPS_BYTES) -> AttentionMaps | None:
    """Maps of all heads, as fine as `most_bytes` of base64 allow; None if no layer's attention was recorded."""
    layers, heads, tokens = watched_layers(trace, QUERY, KEY), trace.spec.n_heads, trace.n_fed
    if not layers:
        return None
    block = _doubled_until(1, lambda block: -(-tokens // block) <= MAP_CELLS)
    cells = -(-tokens // block)
    levels = np.zeros((len(layers), heads, cells, cells), np.uint8)
    entropy = np.zeros((len(layers), heads, tokens), np.float32)
    first = np.zeros((len(layers), heads, tokens), np.float32)
    for place, layer in enumerate(layers):
        progress(f"attention of layer {layer}, {place + 1} of {len(layers)}")
        hidden = ~visible_keys(tokens, tokens, trace.spec.layers[layer].attention.window)
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
    """Every measure for every recorded layer and token; None if no layer has a neuron that is not ablated."""
    layers = tuple(layer for layer in watched_layers(trace, NEURONS) if len(trace.acting(layer)))
    if not layers:
        return None
    neurons = [trace.acting_neurons(layer) for layer in layers]
    return FfnSparsity(layers, {one.key: np.stack([one.of(rows) for rows in neurons]) for one in MEASURES})


def share_scale(shares: Float32[np.ndarray, "layer token"]) -> Linear:
    """From the smallest share, rounded down to tenths, to the largest, rounded up."""
    low, high = float(np.floor(shares.min() * 10) / 10), float(np.ceil(shares.max() * 10) / 10)
    return Linear(min(low, 0.9), max(high, min(low, 0.9) + 0.1))


def in_columns(shares: Float32[np.ndarray, "layer token"]) -> tuple[int, Float32[np.ndarray, "layer column"]]:
    """The number of tokens per column, 1 if all tokens fit, and the mean of each column."""
    layers, tokens = shares.shape
    wide = -(-tokens // COLUMNS)
    padded = np.pad(shares, ((0, 0), (0, -tokens % wide)), constant_values=np.nan)
    return wide, np.asarray(np.nanmean(padded.reshape(layers, -1, wide), axis=2), np.float32)


def logprobs_of(trace: Trace) -> Float32[np.ndarray, " token"]:
    """Natural log-probability that the model gave each token, in nats; NaN where it was not recorded.

    Tokens of the prompt have one if the logits were recorded. The first token never has one, since it is not predicted.
    """
    logprobs = np.full(len(trace.tokens), np.nan, np.float32)
    if LOGITS in trace.sites and len(trace.tokens) > 1:
        logits = trace.site(LOGITS)[: len(trace.tokens) - 1]
        logprobs[1 : len(logits) + 1] = target_log_probabilities(logits, np.array(trace.tokens[1 : len(logits) + 1]))
    logprobs[trace.prompt_length : trace.prompt_length + len(trace.logprobs)] = trace.logprobs
    return logprobs
