"""What each layer of a stack would answer, and which sublayers change it: the logit lens on some tokens."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from edge.lab.experiments.ffn_rows import settled
from edge.lab.passes import Ask
from edge.lab.subject import Subject
from edge.measure.attribution import write_norms
from edge.measure.lens import Lens, logit_lens

TOKENS = 128
"""Of the passage, spread evenly over it."""

LOCAL_TOKENS = 2
"""What a local answer is given of the text: the token and the one before it, too few to tell what it is about."""

Answers = Int[np.ndarray, " token"]
Rows = Float32[np.ndarray, "token model"]


def sampled(subject: Subject) -> Int[np.ndarray, " token"]:
    """Tokens of the passage that are looked at, none the first of its window: that one has read no other."""
    later = np.flatnonzero(settled(subject))
    return later[np.unique(np.linspace(0, len(later) - 1, min(TOKENS, len(later))).round().astype(np.int64))]


def rows(subject: Subject, layer: int, part: str, tokens: Int[np.ndarray, " token"]) -> Rows:
    """One site at the sampled tokens."""
    return np.asarray(subject.rows(layer, part)[tokens], np.float32)


def by_chance(answers: Answers, final: Answers) -> float:
    """How often an answer is the last layer's answer to some other token: two texts that share nothing but habits."""
    ids = np.union1d(answers, final)
    shares = [(given[:, None] == ids).mean(axis=0) for given in (answers, final)]
    return float(shares[0] @ shares[1])


@dataclass(frozen=True)
class Stack:
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


def likeliest(subject: Subject, stream: Rows) -> Answers:
    """What the lens answers."""
    return np.asarray(subject.readout.logits(stream).argmax(axis=-1))


def local_asks(subject: Subject, tokens: Int[np.ndarray, " token"]) -> list[Ask]:
    """Each token and the one before it, after what begins every text."""
    begin, text = subject.begin, subject.passage
    return [Ask((*begin, *text[max(0, token + 1 - LOCAL_TOKENS) : token + 1])) for token in tokens.tolist()]


def local_answers(subject: Subject, tokens: Int[np.ndarray, " token"]) -> Answers:
    """What the whole model answers when all that it is given is each token and the one before it."""
    return np.array(subject.answers(local_asks(subject, tokens), lambda logits: int(logits[-1].argmax())))


def changes(
    subject: Subject, layer: int, tokens: Int[np.ndarray, " token"], before: Answers, after: Answers
) -> tuple[float, float]:
    """How often attention, then the FFN of one layer changes the answer, from `before` it to `after` it."""
    if subject.spec.layers[layer].norms_sum:
        return float("nan"), float("nan")
    read, written = (rows(subject, layer, part, tokens) for part in ("input", "attn.output"))
    between = likeliest(subject, read + written)
    return float((before != between).mean()), float((between != after).mean())


def writes(subject: Subject, layer: int, tokens: Int[np.ndarray, " token"]) -> tuple[float, float]:
    """Lengths of what both sublayers of one layer add, over that of the residual stream after it."""
    added = np.stack([rows(subject, layer, f"{sublayer}.output", tokens) for sublayer in ("attn", "ffn")])
    after = np.linalg.norm(rows(subject, layer, "output", tokens).astype(np.float64), axis=-1)
    attention, ffn = (write_norms(added) / np.maximum(after, np.finfo(np.float64).tiny)).mean(axis=1).tolist()
    return attention, ffn


def look(subject: Subject) -> Stack:
    """The lens on some tokens of the passage, layer by layer."""
    tokens, layers, text = sampled(subject), range(subject.spec.n_layers), np.array(subject.passage)
    streams = [rows(subject, layer, "output", tokens) for layer in layers]
    lens = logit_lens(streams, subject.readout, likeliest(subject, streams[-1]), k=1)
    answers = lens.ids[:, :, 0]
    befores = [likeliest(subject, rows(subject, 0, "input", tokens)), *answers]
    return Stack(
        lens,
        answers == local_answers(subject, tokens),
        (answers == text[tokens + 1]).mean(axis=1),
        np.array([changes(subject, layer, tokens, *befores[layer : layer + 2]) for layer in layers]),
        np.array([writes(subject, layer, tokens) for layer in layers]),
    )
