"""Opens checkpoints: spec and weights under Edge's names, all shapes checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.parameters import parameter_shapes
from models.quantized import QuantizedMatrices
from models.sources.choose import source_of
from models.sources.source import Source
from models.spec import DecoderSpec
from models.weights import DenseWeights, StoredWeights


@dataclass(frozen=True)
class Checkpoint:
    """The spec and the weights of a decoder.

    Attributes:
        source: Where it comes from; tokenizer and chat template are there too.
        weights: Parameters by the names of `models.parameters.parameter_shapes`.
        quantized: The quantized matrices that engines multiply with as they are, so without routers; `weights` has
            the dequantized values of all.
    """

    source: Source
    spec: DecoderSpec
    weights: Mapping[str, NDArray[np.generic]]
    quantized: QuantizedMatrices = field(default_factory=QuantizedMatrices)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the weights; empty if the weights come from memory."""
        return self.weights.files if isinstance(self.weights, StoredWeights | DenseWeights) else ()

    @property
    def name(self) -> str:
        """The model's id on the hub, or the name of the folder or file."""
        return self.source.name

    @cached_property
    def stored_bytes(self) -> int:
        """Bytes of all parameters on disk; tied parameters count once."""
        if isinstance(self.weights, StoredWeights):
            return self.weights.stored_bytes(parameter_shapes(self.spec))
        if isinstance(self.weights, DenseWeights):
            others = self.weights.others.stored_bytes(parameter_shapes(self.spec))
            return self.weights.quantized.stored_bytes + others
        return sum(array.nbytes for array in self.weights.values())

    def stored_bytes_of(self, name: str) -> int:
        """Bytes of one parameter on disk."""
        if isinstance(self.weights, StoredWeights | DenseWeights):
            return self.weights.stored_bytes_of(name, parameter_shapes(self.spec)[name])
        return self.weights[name].nbytes

    @property
    def float_kinds(self) -> tuple[str, ...]:
        """The number types of the parameters that are not quantized."""
        floats = self.weights.others if isinstance(self.weights, DenseWeights) else self.weights
        return tuple(sorted({str(array.dtype) for array in floats.values()}))


def open_checkpoint(path: Path) -> Checkpoint:
    """Opens a checkpoint folder or a GGUF file. Reads only the headers of the weights.

    Raises:
        CheckpointError: no checkpoint is there; or weights that are pickled, damaged or of the wrong shape.
        SpecError: a config that Edge cannot run.
    """
    source = source_of(path)
    contents = source.read()
    return Checkpoint(source, contents.spec, contents.weights, contents.quantized)
