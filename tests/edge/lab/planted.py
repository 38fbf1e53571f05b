"""Decoders with weights made by hand, in which it is known what carries a fact and which heads copy.

Facts: a prompt is `filler, lab, filler, end`. Layer 1 of 3 knows which fact belongs to the subject, by its FFN
or by its attention, and layer 2 carries the fact to the end. Copying: layer 0 attends to the previous token, layer 1 to
what followed the same token; in the counter-model attention is uniform.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np

from edge.lab.context import KnownFact, LabContext
from edge.lab.prompts import Question
from edge.session import Model
from models.parameters import parameter_shapes
from models.spec import (
    FFN,
    Activation,
    Attention,
    DecoderSpec,
    Full,
    Gated,
    LayerNorm,
    LayerSpec,
    Learned,
    NoPosition,
    Plain,
    RMSNorm,
    Rotary,
    Sequential,
)
from tests.edge.lab.contexts import folded
from tests.tiny import FakeCheckpoint

FACTS = 8
IDENTITY, JUNK = 16, 8
MARKER, END = IDENTITY + JUNK, IDENTITY + JUNK + 1
FACT = END + 1
D_MODEL, HEAD_DIM = 40, 40
VOCAB = 48
FILLER, LAST = 40, 41
STILL = HEAD_DIM // 2 - 1
"""A feature of heads that rotary positions turn by nothing: the slowest one."""

FFNS: dict[str, FFN] = {
    "plain GELU": Plain(Activation.GELU_TANH, d_ff=16, bias=True),
    "SwiGLU": Gated(Activation.SILU, d_ff=16, bias=False),
    "gated ReLU": Gated(Activation.RELU, d_ff=16, bias=False),
}


def fact_spec(ffn: FFN) -> DecoderSpec:
    """GPT-2-like where the FFN is plain, else Llama-like."""
    is_plain = isinstance(ffn, Plain)
    norm = LayerNorm(eps=1e-5) if is_plain else RMSNorm(eps=1e-5)
    layer = LayerSpec(
        mixer=Attention(
            n_heads=1,
            n_kv_heads=1,
            head_dim=HEAD_DIM,
            window=Full(),
            position=NoPosition() if is_plain else Rotary(base=1e30, features=HEAD_DIM),
            qkv_bias=is_plain,
            out_bias=is_plain,
        ),
        ffn=ffn,
        norm=norm,
        residual=Sequential(),
    )
    return DecoderSpec(
        vocab_size=VOCAB,
        d_model=D_MODEL,
        context=64,
        positions=Learned(length=64) if is_plain else NoPosition(),
        layers=(layer,) * 3,
        norm=norm,
        tied=False,
    )


def blank(spec: DecoderSpec) -> dict[str, np.ndarray]:
    """Norms that only norm, and 0 for all else."""
    return {
        name: np.ones(shape, np.float32) if name.endswith("norm.weight") else np.zeros(shape, np.float32)
        for name, shape in parameter_shapes(spec).items()
    }


def identities() -> np.ndarray:
    """16 signs of each subject; those of two subjects are orthogonal."""
    signs = np.ones((1, 1))
    while len(signs) < IDENTITY:
        signs = np.block([[signs, signs], [signs, -signs]])
    return np.asarray(signs[1 : FACTS + 1], np.float32)


def fact_weights(spec: DecoderSpec, carrier: str) -> dict[str, np.ndarray]:
    """Layer 1 writes the fact of a subject by its `ffn` or by its `attn`; layer 2 carries it to the end."""
    weights, who = blank(spec), identities()
    junk = np.random.default_rng(5).choice([-6.0, 6.0], (FACTS, JUNK)).astype(np.float32)
    embed, head = weights["embed.weight"], weights["head.weight"]
    embed[:FACTS, :IDENTITY], embed[:FACTS, IDENTITY:MARKER], embed[:FACTS, MARKER] = 4 * who, junk, 20.0
    embed[LAST, END] = 10.0
    head[FACTS : 2 * FACTS, FACT : FACT + FACTS] = 8 * np.eye(FACTS)
    if carrier == "ffn":
        _write_by_ffn(weights, spec.layers[1].ffn, who)
    else:
        _look(weights, 1, query=MARKER, key=MARKER)
        weights["layers.1.attn.value.weight"][:FACTS, :IDENTITY] = who
        weights["layers.1.attn.out.weight"][FACT : FACT + FACTS, :FACTS] = 10 * np.eye(FACTS)
    _look(weights, 2, query=END, key=MARKER)
    weights["layers.2.attn.value.weight"][:FACTS, FACT : FACT + FACTS] = np.eye(FACTS)
    weights["layers.2.attn.out.weight"][FACT : FACT + FACTS, :FACTS] = 20 * np.eye(FACTS)
    return weights


def _write_by_ffn(weights: dict[str, np.ndarray], ffn: FFN, who: np.ndarray) -> None:
    """Neuron k is active where the subject is k, and adds fact k."""
    detect = np.zeros((FACTS, D_MODEL), np.float32)
    detect[:, :IDENTITY] = who
    detect[:, MARKER] = -2.0  # of other subjects, whose signs are orthogonal, nothing is left
    name = "layers.1.ffn"
    if isinstance(ffn, Plain):
        weights[f"{name}.up.weight"][:FACTS] = detect
    else:
        weights[f"{name}.gate.weight"][:FACTS] = detect
        weights[f"{name}.up.weight"][:FACTS, MARKER] = 1.0
    weights[f"{name}.down.weight"][FACT : FACT + FACTS, :FACTS] = 100 * np.eye(FACTS)


def _look(weights: dict[str, np.ndarray], layer: int, query: int, key: int) -> None:
    """The head of a layer looks from tokens with one feature at tokens with another."""
    for part, feature in (("query", query), ("key", key)):
        weights[f"layers.{layer}.attn.{part}.weight"][STILL, feature] = 6.0


class Knowing(LabContext):
    """Asked for its planted facts."""

    @cached_property
    def known_facts(self) -> tuple[KnownFact, ...]:
        found = []
        for fact in range(FACTS):
            ids, answer = (FILLER, fact, FILLER, LAST), FACTS + fact
            chance = np.exp(self.logits(ids)[-1].astype(np.float64))
            found.append(
                KnownFact(Question("planted", "", "", ""), ids, (1,), answer, float(chance[answer] / chance.sum()))
            )
        return tuple(found)


@contextmanager
def planted_facts(ffn: str, carrier: str) -> Iterator[LabContext]:
    """A model of one kind of FFN, whose facts are carried by `ffn` or `attn`."""
    spec = fact_spec(FFNS[ffn])
    with Model(FakeCheckpoint(spec, fact_weights(spec, carrier)), "torch", 1, lambda _: None) as model:
        model.tokenizer = folded(VOCAB)
        yield Knowing(model, tokens=60)


WORDS, PLACES, HEAD = 64, 100, 128
_TOKEN, _PLACE, _BEFORE = 0, WORDS, WORDS + PLACES
COPYING = DecoderSpec(
    vocab_size=WORDS,
    d_model=256,
    context=PLACES,
    positions=Learned(length=PLACES),
    layers=(
        LayerSpec(
            mixer=Attention(
                n_heads=4,
                n_kv_heads=4,
                head_dim=HEAD,
                window=Full(),
                position=NoPosition(),
                qkv_bias=True,
                out_bias=True,
            ),
            ffn=Plain(Activation.GELU_TANH, d_ff=8, bias=True),
            norm=LayerNorm(eps=1e-5),
            residual=Sequential(),
        ),
    )
    * 3,
    norm=LayerNorm(eps=1e-5),
    tied=True,
)


def copying_weights() -> dict[str, np.ndarray]:
    """Head 0 of layer 0 attends to the previous token, head 0 of layer 1 to what followed the same token.

    The others, which write nothing, look at one distance each, or evenly.
    """
    weights = blank(COPYING)
    weights["embed.weight"][:, _TOKEN : _TOKEN + WORDS] = np.eye(WORDS)
    weights["embed.positions"][:, _PLACE : _PLACE + PLACES] = np.eye(PLACES)
    places = slice(_PLACE, _PLACE + PLACES)
    for layer, back in ((0, (1, 0, 2)), (1, (None, 0, 1)), (2, (1, 0, 2))):
        name = f"layers.{layer}.attn"
        for head, distance in enumerate(back):
            rows = slice(HEAD * head, HEAD * head + PLACES)
            if distance is not None:
                weights[f"{name}.query.weight"][rows, places] = np.eye(PLACES, k=distance)
                weights[f"{name}.key.weight"][rows, places] = np.eye(PLACES)
    weights["layers.0.attn.value.weight"][:WORDS, _TOKEN : _TOKEN + WORDS] = np.eye(WORDS)
    weights["layers.0.attn.out.weight"][_BEFORE : _BEFORE + WORDS, :WORDS] = 0.1 * np.eye(WORDS)
    name = "layers.1.attn"
    weights[f"{name}.query.weight"][:WORDS, _TOKEN : _TOKEN + WORDS] = 2 * np.eye(WORDS)
    weights[f"{name}.key.weight"][:WORDS, _BEFORE : _BEFORE + WORDS] = np.eye(WORDS)
    weights[f"{name}.value.weight"][:WORDS, _TOKEN : _TOKEN + WORDS] = np.eye(WORDS)
    weights[f"{name}.out.weight"][_TOKEN : _TOKEN + WORDS, :WORDS] = np.eye(WORDS)
    return weights


@contextmanager
def planted_copying(*, is_blind: bool = False) -> Iterator[LabContext]:
    """A model that copies; blind, its attention is uniform."""
    weights = copying_weights()
    if is_blind:
        weights = {name: 0 * value if ".query." in name else value for name, value in weights.items()}
    with Model(FakeCheckpoint(COPYING, weights), "torch", 1, lambda _: None) as model:
        model.tokenizer = folded(WORDS)
        yield LabContext(model, tokens=260)
