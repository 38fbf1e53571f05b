"""Tiny decoders whose norms have gains as wide as Gemma 3's, and a vocabulary with few overlaps by chance."""

from dataclasses import replace

import numpy as np

from models.spec import FFN, Dense, MoE
from tests.tiny import TINY_SPECS, FakeCheckpoint, tiny_weights

VOCAB, TOKENS = 1_500, 16

_GAINS = ("head.norm.weight", "ffn.after.weight", "sum.weight")
"""Norms between an FFN and the head."""


def _wide(ffn: FFN) -> FFN:
    """As many neurons; 128 in each expert of a mixture."""
    if isinstance(ffn, MoE):
        return replace(ffn, expert=replace(ffn.expert, d_ff=128))
    assert isinstance(ffn, Dense)
    return replace(ffn, d_ff=256)


def wide_gains(name: str) -> FakeCheckpoint:
    """One of `TINY_SPECS` with 256 neurons a layer, 1,500 tokens, and gains from 0.2 to 300."""
    spec, rng = TINY_SPECS[name], np.random.default_rng(5)
    layers = tuple(replace(layer, ffn=_wide(layer.ffn)) for layer in spec.layers)
    spec = replace(spec, vocab_size=VOCAB, layers=layers)
    weights = tiny_weights(spec, 0)
    for gain in [name for name in weights if name.endswith(_GAINS)]:
        weights[gain] = np.exp(rng.uniform(np.log(0.2), np.log(300), weights[gain].shape)).astype(np.float32)
    return FakeCheckpoint(spec, weights, name=name)
