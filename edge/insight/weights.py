"""The weights that explain a trace: the way to logits, and what each head and neuron writes; read once and kept."""

from collections.abc import Callable
from functools import cached_property, lru_cache, partial
from typing import Literal

from edge.readout import OutputProjection, Readout, open_output_projection, open_readout
from models.checkpoint import Checkpoint

_KEPT_PROJECTIONS = 8
"""Matrices that are kept as float32; a person looks at a few layers at a time."""


class InsightWeights:
    """Of the checkpoint as its engine computes with it: quantized where the engine packs.

    Attributes:
        piece: A token of the vocabulary as a label.
    """

    def __init__(self, checkpoint: Checkpoint, piece: Callable[[int], str]) -> None:
        self.checkpoint, self.piece = checkpoint, piece
        self._projection = lru_cache(_KEPT_PROJECTIONS)(partial(open_output_projection, checkpoint))

    @cached_property
    def readout(self) -> Readout:
        """From the residual stream to logits."""
        return open_readout(self.checkpoint)

    def projection(self, layer: int, sublayer: Literal["attn", "ffn"]) -> OutputProjection:
        """How attention or the FFN of a layer ends: its last matrix, bias and norm."""
        return self._projection(layer, sublayer)
