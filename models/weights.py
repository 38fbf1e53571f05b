"""Parameters by Edge's names, read from safetensors files at access."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.families.views import Stored
from models.parameters import Shapes
from models.quantized import QuantizedMatrices
from models.safetensors_file import TensorPlace


@dataclass(frozen=True)
class StoredParameter:
    """One parameter: the places of its tensors, and how it is stored there."""

    places: tuple[TensorPlace, ...]
    way: Stored
    multiplier: float = 1.0

    def stored_bytes(self, shape: tuple[int, ...]) -> int:
        """Size on disk, given the parameter's shape; its tensor may have other parameters too."""
        if self.way.join is None:
            return prod(shape) * self.places[0].dtype.itemsize
        return sum(prod(place.shape) * place.dtype.itemsize for place in self.places)

    def read(self) -> NDArray[np.generic]:
        value = self.way.read([place.read() for place in self.places])
        # In float32: half precision would round the product.
        return value if self.multiplier == 1.0 else np.float32(self.multiplier) * value.astype(np.float32)


class StoredWeights(Mapping[str, NDArray[np.generic]]):
    """All parameters by Edge's names, in their stored type (float32, float16, bfloat16), read at access."""

    def __init__(self, stored: dict[str, StoredParameter]) -> None:
        self.stored = stored

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        return self.stored[name].read()

    def __contains__(self, name: object) -> bool:
        return name in self.stored  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the parameters."""
        return tuple(sorted({place.file for stored in self.stored.values() for place in stored.places}))

    def stored_bytes_of(self, name: str, shape: tuple[int, ...]) -> int:
        """Size of one parameter on disk."""
        return self.stored[name].stored_bytes(shape)

    def stored_bytes(self, shapes: Shapes) -> int:
        """Size on disk of parameters with these shapes."""
        return sum(self.stored_bytes_of(name, shapes[name]) for name in self.stored)


class DenseWeights(Mapping[str, NDArray[np.generic]]):
    """All parameters as floats; quantized ones are dequantized to float32."""

    def __init__(self, quantized: QuantizedMatrices, others: StoredWeights, files: tuple[Path, ...]) -> None:
        self.quantized, self.others, self.files = quantized, others, files

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        return self.quantized[name].dense() if name in self.quantized else self.others[name]

    def __contains__(self, name: object) -> bool:
        return name in self.quantized or name in self.others

    def __iter__(self) -> Iterator[str]:
        yield from self.quantized
        yield from self.others

    def __len__(self) -> int:
        return len(self.quantized) + len(self.others)

    def stored_bytes_of(self, name: str, shape: tuple[int, ...]) -> int:
        """Size of one parameter on disk."""
        if name in self.quantized:
            return self.quantized.stored_bytes_of(name)
        return self.others.stored_bytes_of(name, shape)
