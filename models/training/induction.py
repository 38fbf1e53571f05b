"""Induction scores of all heads, measured while a decoder is trained."""

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from edge.attention_pattern import attention_pattern
from edge.measure.attention import prefix_matching
from edge.repeated_tokens import repeated_tokens
from models.decoder import Decoder
from models.kernels import FullPass
from models.sites import KEY, QUERY, layer_site

EXAMPLES = 10
"""Number of sequences that a score is averaged over, as in Olsson et al. 2022."""


def induction_scores(decoder: Decoder, seed: int) -> Float32[np.ndarray, "layer head"]:
    """The mean induction score of every head on repeated random tokens."""
    random = np.random.default_rng(seed)
    sequences = [repeated_tokens(decoder.spec.vocab_size, random) for _ in range(EXAMPLES)]
    return np.asarray(np.mean([_of_sequence(decoder, ids) for ids in sequences], axis=0), np.float32)


def _of_sequence(decoder: Decoder, ids: np.ndarray) -> Float32[np.ndarray, "layer head"]:
    spec = decoder.spec
    seen: dict[str, np.ndarray] = {}

    def see(site: str, value: Tensor, rows: Tensor | None = None) -> Tensor:
        if site.endswith((QUERY, KEY)):
            seen[site] = value.detach().float().numpy()
        return value

    kernels = FullPass(len(ids))
    with torch.no_grad():
        decoder(torch.from_numpy(ids), kernels.positions, kernels, see)
    scores = np.empty((spec.n_layers, spec.n_heads), np.float32)
    for layer, kind in enumerate(spec.attentions):
        query, key = (seen[layer_site(layer, part)] for part in (QUERY, KEY))
        for head in range(kind.n_heads):
            keys = key[:, head // kind.sharing]
            scores[layer, head] = prefix_matching(
                attention_pattern(query[:, head], keys, kind.scale, kind.window, kind.score_cap), ids
            )
    return scores
