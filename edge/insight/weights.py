"""The weights that explain a trace: the way to logits, and what each head and neuron writes; read once and kept."""

from collections.abc import Callable
from functools import cached_property, lru_cache, partial
from typing import Literal

from edge.readout import Ending, Readout, open_ending, open_readout
from models.checkpoint import Checkpoint

_ENDINGS = 8
"""Matrices that are kept as float32; a person looks at a few layers at a time."""


class InsightWeights:
    """Of the checkpoint as its engine computes with it: quantized where the engine packs.

    Attributes:
        piece: A token of the vocabulary as a label.
    """

    def __init__(self, checkpoint: Checkpoint, piece: Callable[[int], str]) -> None:
        self.checkpoint, self.piece = checkpoint, piece
        self._ending = lru_cache(_ENDINGS)(partial(open_ending, checkpoint))

    @cached_property
    def readout(self) -> Readout:
        """From the residual stream to logits."""
        return open_readout(self.checkpoint)

    def ending(self, layer: int, sublayer: Literal["attn", "ffn"]) -> Ending:
        """How attention or the FFN of a layer ends: its last matrix, bias and norm."""
        return self._ending(layer, sublayer)
