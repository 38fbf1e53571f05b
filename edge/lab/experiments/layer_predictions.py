"""What each layer of a stack would answer, and which sublayers change it: the logit lens on some tokens."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from edge.lab.context import LabContext
from edge.lab.experiments.ffn_activations import after_first
from edge.lab.passes import Prompt
from edge.measure.attribution import write_norms
from edge.measure.lens import Lens, logit_lens

TOKENS = 128
"""Of the passage, spread evenly over it."""

LOCAL_TOKENS = 2
"""What a local answer is given of the text: the token and the one before it, too few to tell what it is about."""

TokenIds = Int[np.ndarray, " token"]
Rows = Float32[np.ndarray, "token model"]


def sampled(lab: LabContext) -> Int[np.ndarray, " token"]:
    """Tokens of the passage that are looked at, none the first of its window: that one has read no other."""
    later = np.flatnonzero(after_first(lab))
    return later[np.unique(np.linspace(0, len(later) - 1, min(TOKENS, len(later))).round().astype(np.int64))]


def rows(lab: LabContext, layer: int, part: str, tokens: Int[np.ndarray, " token"]) -> Rows:
    """One site at the sampled tokens."""
    return np.asarray(lab.site(layer, part)[tokens], np.float32)


def by_chance(answers: TokenIds, final: TokenIds) -> float:
    """How often an answer is the last layer's answer to some other token: two texts that share nothing but habits."""
    ids = np.union1d(answers, final)
    shares = [(given[:, None] == ids).mean(axis=0) for given in (answers, final)]
    return float(shares[0] @ shares[1])


@dataclass(frozen=True)
class LayerPredictions:
    """What the lens shows on some tokens.

    Attributes:
        lens: After each layer, the targets being the last layer's own answers.
        is_local: Whether the answer is the whole model's when it is given nothing but the last two tokens.
        following: Share of tokens whose answer is the text's next token.
        changes: How often attention, then the FFN of a layer changes the answer; NaN where neither can be told.
        writes: What attention and the FFN of a layer add, over the residual stream after it: lengths, mean of tokens.
    """

    lens: Lens
    is_local: Bool[np.ndarray, "layer token"]
    following: Float64[np.ndarray, " layer"]
    changes: Float64[np.ndarray, "layer sublayer"]
    writes: Float64[np.ndarray, "layer sublayer"]

    @property
    def answers(self) -> Int[np.ndarray, "layer token"]:
        """The likeliest id after each layer."""
        return self.lens.ids[:, :, 0]

    @property
    def local(self) -> Float64[np.ndarray, " layer"]:
        """Share of tokens whose answer is local."""
        return np.asarray(self.is_local.mean(axis=1))

    @property
    def agrees(self) -> Bool[np.ndarray, "layer token"]:
        """Whether an answer is the last layer's."""
        return np.asarray(self.answers == self.answers[-1])

    @property
    def agreement(self) -> Float64[np.ndarray, " layer"]:
        """Share of tokens whose answer is the last layer's."""
        return np.asarray(self.agrees.mean(axis=1))

    @property
    def chance(self) -> Float64[np.ndarray, " layer"]:
        """The same, were answers those to other tokens."""
        return np.array([by_chance(answers, self.answers[-1]) for answers in self.answers])


def likeliest(lab: LabContext, stream: Rows) -> TokenIds:
    """What the lens answers."""
    return np.asarray(lab.readout.logits(stream).argmax(axis=-1))


def local_prompts(lab: LabContext, tokens: Int[np.ndarray, " token"]) -> list[Prompt]:
    """Each token and the one before it, after what begins every text."""
    begin, text = lab.start_tokens, lab.passage
    return [Prompt((*begin, *text[max(0, token + 1 - LOCAL_TOKENS) : token + 1])) for token in tokens.tolist()]


def local_predictions(lab: LabContext, tokens: Int[np.ndarray, " token"]) -> TokenIds:
    """What the whole model answers when all that it is given is each token and the one before it."""
    return np.array(lab.read_logits(local_prompts(lab, tokens), lambda logits: int(logits[-1].argmax())))


def changes(
    lab: LabContext, layer: int, tokens: Int[np.ndarray, " token"], before: TokenIds, after: TokenIds
) -> tuple[float, float]:
    """How often attention, then the FFN of one layer changes the answer, from `before` it to `after` it."""
    if lab.spec.layers[layer].norms_sum:
        return float("nan"), float("nan")
    read, written = (rows(lab, layer, part, tokens) for part in ("input", "attn.output"))
    between = likeliest(lab, read + written)
    return float((before != between).mean()), float((between != after).mean())


def writes(lab: LabContext, layer: int, tokens: Int[np.ndarray, " token"]) -> tuple[float, float]:
    """Lengths of what both sublayers of one layer add, over that of the residual stream after it."""
    added = np.stack([rows(lab, layer, f"{sublayer}.output", tokens) for sublayer in ("attn", "ffn")])
    after = np.linalg.norm(rows(lab, layer, "output", tokens).astype(np.float64), axis=-1)
    attention, ffn = (write_norms(added) / np.maximum(after, np.finfo(np.float64).tiny)).mean(axis=1).tolist()
    return attention, ffn


def look(lab: LabContext) -> LayerPredictions:
    """The lens on some tokens of the passage, layer by layer."""
    tokens, layers, text = sampled(lab), range(lab.spec.n_layers), np.array(lab.passage)
    streams = [rows(lab, layer, "output", tokens) for layer in layers]
    lens = logit_lens(streams, lab.readout, likeliest(lab, streams[-1]), k=1)
    answers = lens.ids[:, :, 0]
    befores = [likeliest(lab, rows(lab, 0, "input", tokens)), *answers]
    return LayerPredictions(
        lens,
        answers == local_predictions(lab, tokens),
        (answers == text[tokens + 1]).mean(axis=1),
        np.array([changes(lab, layer, tokens, *befores[layer : layer + 2]) for layer in layers]),
        np.array([writes(lab, layer, tokens) for layer in layers]),
    )
