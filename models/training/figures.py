"""Measurements of a model on any engine: loss of a text, sparsity of its FFNs, induction scores, copying."""

import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int

from edge.compare.estimate import token_losses_nats
from edge.measure.attention import prefix_matching, prefix_matching_by_pair
from edge.measure.sparsity import exact_zero_share
from edge.repeated_tokens import repeated_tokens
from edge.session import Model
from edge.watch import Watch
from models.errors import MisuseError
from models.sites import CHOSEN, layer_site, neuron_parts
from models.spec import MoE
from models.tokenizer import Tokenizer
from models.training.corpus import END_OF_TEXT

SEED = 20
"""Seed of all random sequences here. All engines and all checkpoints with one vocabulary get the same sequences."""

LONGEST_WINDOW = 1_024
_NEURON_WINDOWS, _NEURON_WINDOW = 8, 512
_SEQUENCES, _TOKENS, _TIMES = 10, 25, 4  # the probe for induction heads of Olsson et al. 2022
_COPY_ROWS, _COPY_SPAN = 32, 64


@dataclass(frozen=True)
class TokenStream:
    """Documents as one row of tokens.

    Attributes:
        ids: The tokens of each document, followed by the tokenizer's end-of-text token if it has one.
        scored_bytes: UTF-8 bytes of the documents minus those of the first token.
    """

    ids: list[int]
    scored_bytes: int


def open_documents(file: Path, lines: int | None = None) -> tuple[str, ...]:
    """The documents in the first lines of a text file, plain or xz; `<|endoftext|>` separates them."""
    if lines is not None and lines < 1:
        raise MisuseError(f"lines is {lines}; at least 1 line of the text is required")
    try:
        with lzma.open(file) if file.suffix == ".xz" else file.open("rb") as opened:
            text = b"".join(islice(opened, lines)).decode()
    except FileNotFoundError as error:
        raise MisuseError(f"no text at {file}; pass --text a text file, plain or xz") from error
    except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError) as error:
        raise MisuseError(f"{file} cannot be read as text: {error}; pass --text a UTF-8 file, plain or xz") from error
    return tuple(document.strip() for document in text.split(END_OF_TEXT) if document.strip())


def token_stream(tokenizer: Tokenizer, documents: Sequence[str]) -> TokenStream:
    """Documents as tokens of one tokenizer.

    Raises:
        MisuseError: the text has nothing after the first token, so nothing can be predicted.
    """
    documents, end = [document for document in documents if document], tokenizer.stop_tokens[:1]
    ids = [id for document in documents for id in (*tokenizer.encode(document), *end)]
    whole = sum(len(document.encode()) for document in documents)
    scored_bytes = whole - _first_token_bytes(tokenizer, documents[0]) if whole else 0
    if not scored_bytes:
        raise MisuseError(f"the text has {len(ids)} tokens, none of them after some text; give a longer text")
    return TokenStream(ids, scored_bytes)


def _first_token_bytes(tokenizer: Tokenizer, text: str) -> int:
    """UTF-8 bytes of the text that its first token represents; 0 for a special token."""
    first = tokenizer.encode(text)[0]
    if first in tokenizer.special:
        return 0
    covered = len(text[: tokenizer.rust.encode(text).offsets[0][1]].encode())
    # An offset counts characters. A byte-level token may end inside a character, and has one letter per byte.
    return min(covered, len(tokenizer.rust.id_to_token(first) or "")) if tokenizer.is_byte_level else covered


def text_nats(model: Model, ids: Sequence[int]) -> float:
    """The sum of the cross-entropy losses of all tokens but the first, in nats.

    The text is cut into windows of the model's context, at most 1,024 tokens; the last may be shorter. Each window
    starts with an empty context, and its last target is the first token of the next window.
    """
    width = min(model.spec.context, LONGEST_WINDOW)
    targets = np.array(ids[1:], np.int64)
    nats = 0.0
    for start in range(0, len(targets), width):
        window = targets[start : start + width]
        logits = model.logits(list(ids[start : start + len(window)]))
        nats += float(token_losses_nats(logits, window).sum())
    return nats


@dataclass(frozen=True)
class FFNSparsity:
    """Sparsity of the FFN of each layer. Shares are 0 to 1. Neurons of experts that are not chosen are 0.

    Attributes:
        exact_zeros: For each layer, the share of activations that are exactly 0.
        always_zero: For each layer, the share of neurons that are 0 on every token.
        chosen: For each layer, the share of tokens that choose each expert; empty for a dense FFN.
        tokens: Number of tokens on which the shares are measured.
    """

    exact_zeros: tuple[float, ...]
    always_zero: tuple[float, ...]
    chosen: tuple[tuple[float, ...], ...]
    tokens: int


def ffn_sparsity(model: Model, ids: Sequence[int]) -> FFNSparsity:
    """The sparsity in the first 8 windows of at most 512 tokens, each with an empty context."""
    width, watch = min(model.spec.context, _NEURON_WINDOW), Watch(parts=neuron_parts(model.spec))
    ids = ids[: _NEURON_WINDOWS * width]
    zeros = np.zeros(model.spec.n_layers)
    always = [np.ones(d_ff, bool) for d_ff in model.spec.d_ffs]
    chosen = [np.zeros(layer.ffn.n_experts if isinstance(layer.ffn, MoE) else 0) for layer in model.spec.layers]
    for start in range(0, len(ids), width):
        window = list(ids[start : start + width])
        trace = model.run(ids=window, max_new_tokens=0, watch=watch)
        for layer in range(model.spec.n_layers):
            neurons = trace.neurons(layer)
            zeros[layer] += exact_zero_share(neurons).sum(dtype=np.float64)
            always[layer] &= (neurons == 0).all(axis=0)
            if len(chosen[layer]):
                experts = trace.site(layer_site(layer, CHOSEN)).astype(np.int64)
                chosen[layer] += np.bincount(experts.ravel(), minlength=len(chosen[layer]))
    return FFNSparsity(
        exact_zeros=tuple((zeros / len(ids)).tolist()),
        always_zero=tuple(float(neurons.mean()) for neurons in always),
        chosen=tuple(tuple((tokens / len(ids)).tolist()) for tokens in chosen),
        tokens=len(ids),
    )


def induction(model: Model) -> tuple[Float64[np.ndarray, "layer head"], Float64[np.ndarray, "layer head"]]:
    """The induction scores of every head: `prefix_matching` and `prefix_matching_by_pair`.

    Means over 10 sequences of 25 random tokens, repeated four times; fewer tokens if the context is shorter.
    """
    random = np.random.default_rng(SEED)
    tokens = min(_TOKENS, model.spec.context // _TIMES)
    sequences = [repeated_tokens(model.spec.vocab_size, random, tokens=tokens, times=_TIMES) for _ in range(_SEQUENCES)]
    scores = np.array([list(_layer_scores(model, ids)) for ids in sequences], np.float64)
    per_token, by_pair = scores.mean(axis=0).swapaxes(0, 1)
    return per_token, by_pair


def _layer_scores(model: Model, ids: Int[np.ndarray, " token"]) -> Iterator[Float32[np.ndarray, "variant head"]]:
    trace = model.run(ids=ids.tolist(), max_new_tokens=0, watch=Watch(parts=("attn.query", "attn.key")))
    for layer in range(model.spec.n_layers):
        pattern = np.stack([trace.pattern(layer, head) for head in range(model.spec.n_heads)])
        yield np.stack([prefix_matching(pattern, ids), prefix_matching_by_pair(pattern, ids)])


def copied_share(model: Model) -> float:
    """Accuracy of the top-1 token on the second copy of 64 random tokens, over 32 sequences.

    The first token of the second copy is left out, since it cannot be predicted. A copy has half the context's length
    if the context is shorter than 128 tokens.
    """
    span = min(_COPY_SPAN, model.spec.context // 2)
    sequences = np.random.default_rng(SEED).integers(0, model.spec.vocab_size, (_COPY_ROWS, span))
    right = [model.logits([*once.tolist(), *once.tolist()])[span:-1].argmax(axis=-1) == once[1:] for once in sequences]
    return float(np.mean(right))
