"""Token ids on which an export is compared with torch: sample text if there is a tokenizer, else random ids."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from export.logit_difference import Ids
from models.checkpoint import Checkpoint
from models.sample_text import SAMPLE_TEXT
from models.tokenizer import open_tokenizer

TOKENS = 256
"""Maximum number of tokens of the text."""

_RANDOM_TOKENS = 43


@dataclass(frozen=True)
class ComparisonIds:
    """Token sequences, each fed from an empty cache.

    Attributes:
        passes: The first has two tokens, the second is short, the others are as long as the context.
        targets: The next token at each position of each pass; None for random ids.
    """

    passes: tuple[Ids, ...]
    targets: tuple[Ids, ...] | None


def comparison_ids(checkpoint: Checkpoint) -> ComparisonIds:
    """The start of the sample text, or fixed random ids if no tokenizer fits the vocabulary."""
    text = _text_ids(checkpoint)
    ids = _random_ids(checkpoint) if text is None else text
    cuts = list(_cuts(len(ids) - 1, checkpoint.spec.context))
    targets = tuple(ids[start + 1 : end + 1] for start, end in cuts)
    return ComparisonIds(tuple(ids[start:end] for start, end in cuts), None if text is None else targets)


def _text_ids(checkpoint: Checkpoint) -> Ids | None:
    tokenizer = open_tokenizer(checkpoint.source.texts())
    if tokenizer is None:
        return None
    ids = np.array(tokenizer.encode(SAMPLE_TEXT)[: TOKENS + 1], np.int64)
    return ids if len(ids) > 2 and ids.max() < checkpoint.spec.vocab_size else None


def _random_ids(checkpoint: Checkpoint) -> Ids:
    return np.random.default_rng(20_240_131).integers(0, checkpoint.spec.vocab_size, _RANDOM_TOKENS)


def _cuts(tokens: int, context: int) -> Iterator[tuple[int, int]]:
    """Start and end of each pass. A pass has at least two tokens, since its last token is fed separately."""
    start, lengths = 0, [2, 7]
    while tokens - start > 1:
        length = min(lengths.pop(0) if lengths else tokens, context, tokens - start)
        yield start, start + length
        start += length
