"""Repeated random tokens, the standard input to find induction heads."""

import numpy as np
from jaxtyping import Int64


def repeated_tokens(
    vocab_size: int, random: np.random.Generator, *, tokens: int = 25, times: int = 4
) -> Int64[np.ndarray, " token"]:
    """A list of random tokens that is repeated `times` times, to find induction heads (Olsson et al. 2022).

    The tokens of the list are distinct. The first and the last sixteenth of the vocabulary are left out: special, very
    common and very rare tokens have their ids there.
    """
    margin = vocab_size // 16
    once = margin + random.permutation(vocab_size - 2 * margin)[:tokens]
    return np.tile(once.astype(np.int64), times)
