"""The weights that explain a trace: unembedding, and output vectors of heads and neurons; opened once and cached."""

from collections.abc import Callable
from functools import cached_property, lru_cache, partial

from edge.readout import OutputProjection, Readout, open_output_projection, open_readout
from models.checkpoint import Checkpoint
from models.sites import SublayerName

_KEPT_PROJECTIONS = 8
"""Matrices that are cached as float32; a person views a few layers at a time."""


class InsightWeights:
    """The weights of a checkpoint as its engine uses them, quantized or not.

    Attributes:
        piece: A token of the vocabulary as a label.
    """

    def __init__(self, checkpoint: Checkpoint, piece: Callable[[int], str]) -> None:
        self.checkpoint, self.piece = checkpoint, piece
        self._projection = lru_cache(_KEPT_PROJECTIONS)(partial(open_output_projection, checkpoint))

    @cached_property
    def readout(self) -> Readout:
        """The final norm and the unembedding."""
        return open_readout(self.checkpoint)

    def projection(self, layer: int, sublayer: SublayerName) -> OutputProjection:
        """The output projection of a layer's attention or FFN: matrix, bias and norm."""
        return self._projection(layer, sublayer)
