"""What a checkpoint needs from where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from models.quantized import QuantizedMatrices
from models.spec import DecoderSpec


@dataclass(frozen=True)
class Contents:
    """A decoder as it is stored.

    Attributes:
        weights: Parameters by the names of `models.parameters.parameter_shapes`; quantized ones are dequantized.
        quantized: The quantized matrices that engines multiply with as they are, so without routers.
    """

    spec: DecoderSpec
    weights: Mapping[str, NDArray[np.generic]]
    quantized: QuantizedMatrices = field(default_factory=QuantizedMatrices)


@runtime_checkable
class Source(Protocol):
    """A folder or file with a checkpoint."""

    @property
    def path(self) -> Path:
        """The folder, or the first file, for messages."""

    @property
    def name(self) -> str:
        """A short name: the id on the hub, or the name of the folder or file."""

    def texts(self) -> Path:
        """The folder of config, tokenizer and chat template, as files in Hugging Face format."""

    @property
    def graphs(self) -> Path:
        """The folder of exported graphs that belong to the checkpoint; it may be absent."""

    def notes(self) -> tuple[str, ...]:
        """What a user should know of it, in one line each, such as keys of the config that have no effect."""

    def without_tokenizer(self) -> str:
        """Why there is no tokenizer, and what to do."""

    def read(self) -> Contents:
        """The decoder. Reads headers only.

        Raises:
            CheckpointError: weights that are pickled, damaged or of the wrong shape.
            SpecError: a config that Edge cannot run.
        """
