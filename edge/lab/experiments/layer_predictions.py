"""Logit-lens predictions after each layer at some tokens, and the sublayers that change them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from edge.lab.context import LabContext
from edge.lab.experiments.ffn_activations import after_first
from edge.lab.passes import Prompt
from edge.measure.attribution import write_norms
from edge.measure.lens import Lens, logit_lens
from models.sites import ATTENTION_OUTPUT

TOKENS = 128
"""Tokens of the passage, evenly spaced."""

LOCAL_TOKENS = 2
"""Context of a local prediction: the token and the previous one."""

TokenIds = Int[np.ndarray, " token"]
Rows = Float32[np.ndarray, "token model"]


def sampled(lab: LabContext) -> Int[np.ndarray, " token"]:
    """The tokens that are measured; none is the first of its window, which attends only to itself."""
    later = np.flatnonzero(after_first(lab))
    return later[np.unique(np.linspace(0, len(later) - 1, min(TOKENS, len(later))).round().astype(np.int64))]


def rows(lab: LabContext, layer: int, part: str, tokens: Int[np.ndarray, " token"]) -> Rows:
    """The values of one site at the sampled tokens."""
    return np.asarray(lab.site(layer, part)[tokens], np.float32)


def by_chance(predictions: TokenIds, final: TokenIds) -> float:
    """How often a prediction is equal to the last layer's prediction at another, random token."""
    ids = np.union1d(predictions, final)
    shares = [(given[:, None] == ids).mean(axis=0) for given in (predictions, final)]
    return float(shares[0] @ shares[1])


@dataclass(frozen=True)
class LayerPredictions:
    """The top-1 tokens of the logit lens at some tokens.

    Attributes:
        lens: The logit lens after each layer; its targets are the last layer's top-1 tokens.
        is_local: Whether the top-1 token is the one that the whole model predicts from the last two tokens alone.
        following: Share of tokens whose top-1 token is the text's next token.
        changes: How often attention, then the FFN of a layer, changes the top-1 token; NaN where that is undefined.
        norm_ratios: L2 norms of the contributions of attention and FFN, over that of the stream after the layer.
    """

    lens: Lens
    is_local: Bool[np.ndarray, "layer token"]
    following: Float64[np.ndarray, " layer"]
    changes: Float64[np.ndarray, "layer sublayer"]
    norm_ratios: Float64[np.ndarray, "layer sublayer"]

    @property
    def top1(self) -> Int[np.ndarray, "layer token"]:
        """The top-1 token after each layer."""
        return self.lens.ids[:, :, 0]

    @property
    def local(self) -> Float64[np.ndarray, " layer"]:
        """Share of tokens whose top-1 token is local."""
        return np.asarray(self.is_local.mean(axis=1))

    @property
    def agrees(self) -> Bool[np.ndarray, "layer token"]:
        """Whether the top-1 token is the last layer's."""
        return np.asarray(self.top1 == self.top1[-1])

    @property
    def agreement(self) -> Float64[np.ndarray, " layer"]:
        """Share of tokens whose top-1 token is the last layer's."""
        return np.asarray(self.agrees.mean(axis=1))

    @property
    def chance(self) -> Float64[np.ndarray, " layer"]:
        """The same share by chance, with the last layer's top-1 tokens at other tokens."""
        return np.array([by_chance(top1, self.top1[-1]) for top1 in self.top1])


def top1_tokens(lab: LabContext, stream: Rows) -> TokenIds:
    """The top-1 tokens of the logit lens."""
    return np.asarray(lab.readout.logits(stream).argmax(axis=-1))


def local_prompts(lab: LabContext, tokens: Int[np.ndarray, " token"]) -> list[Prompt]:
    """Each token and the previous one, after the start tokens."""
    begin, text = lab.start_tokens, lab.passage
    return [Prompt((*begin, *text[max(0, token + 1 - LOCAL_TOKENS) : token + 1])) for token in tokens.tolist()]


def local_predictions(lab: LabContext, tokens: Int[np.ndarray, " token"]) -> TokenIds:
    """The whole model's top-1 token, given only each token and the previous one."""
    return np.array(lab.read_logits(local_prompts(lab, tokens), lambda logits: int(logits[-1].argmax())))


def changes(
    lab: LabContext, layer: int, tokens: Int[np.ndarray, " token"], before: TokenIds, after: TokenIds
) -> tuple[float, float]:
    """How often attention, then the FFN of one layer, changes the top-1 token from `before` to `after` the layer."""
    if lab.spec.layers[layer].norms_sum:
        return float("nan"), float("nan")
    read, written = (rows(lab, layer, part, tokens) for part in ("input", ATTENTION_OUTPUT))
    between = top1_tokens(lab, read + written)
    return float((before != between).mean()), float((between != after).mean())


def norm_ratios(lab: LabContext, layer: int, tokens: Int[np.ndarray, " token"]) -> tuple[float, float]:
    """L2 norms of the contributions of both sublayers, over that of the stream after the layer; means over tokens."""
    added = np.stack([rows(lab, layer, f"{sublayer}.output", tokens) for sublayer in ("attn", "ffn")])
    after = np.linalg.norm(rows(lab, layer, "output", tokens).astype(np.float64), axis=-1)
    attention, ffn = (write_norms(added) / np.maximum(after, np.finfo(np.float64).tiny)).mean(axis=1).tolist()
    return attention, ffn


def predict_by_layer(lab: LabContext) -> LayerPredictions:
    """The logit lens at some tokens of the passage, layer by layer."""
    tokens, layers, text = sampled(lab), range(lab.spec.n_layers), np.array(lab.passage)
    streams = [rows(lab, layer, "output", tokens) for layer in layers]
    lens = logit_lens(streams, lab.readout, top1_tokens(lab, streams[-1]), k=1)
    top1 = lens.ids[:, :, 0]
    befores = [top1_tokens(lab, rows(lab, 0, "input", tokens)), *top1]
    return LayerPredictions(
        lens,
        top1 == local_predictions(lab, tokens),
        (top1 == text[tokens + 1]).mean(axis=1),
        np.array([changes(lab, layer, tokens, *befores[layer : layer + 2]) for layer in layers]),
        np.array([norm_ratios(lab, layer, tokens) for layer in layers]),
    )
