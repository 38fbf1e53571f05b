"""Inputs made to bring out one behavior of a decoder."""

import numpy as np
from jaxtyping import Int64


def repeated_tokens(
    vocab_size: int, random: np.random.Generator, *, tokens: int = 25, times: int = 4
) -> Int64[np.ndarray, " token"]:
    """Random tokens, one list of them over and over: what induction heads are found with (Olsson et al. 2022).

    No token comes twice within the list; the first and last sixteenth of the vocabulary, where special, very common
    and very rare tokens have their ids, are left out.
    """
    margin = vocab_size // 16
    once = margin + random.permutation(vocab_size - 2 * margin)[:tokens]
    return np.tile(once.astype(np.int64), times)
