"""One quantized linear layer of a checkpoint: its tensors, their shapes, and its matrix by rows."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, Shaped, UInt8
from numpy.typing import NDArray

from models.code_bytes import codes_from_bytes, codes_to_bytes
from models.errors import CheckpointError
from models.precision import Scheme, Zero
from models.quantized import row_blocks
from models.safetensors_file import TensorPlace

Shape = tuple[int, ...]

FLOATS = ("F16", "BF16", "F32")

_SIZES = (128, 64, 32, 16)
"""Sizes of groups. A larger group is read as several that have the same scale."""


@dataclass(frozen=True)
class Layout:
    """How the matrix of a module is quantized.

    Attributes:
        kind: A short label for people.
        scheme: The scheme in which it is read.
        group: Columns that share a stored scale: a multiple of `scheme.group`.
    """

    kind: str
    scheme: Scheme
    group: int


@dataclass(frozen=True)
class Rows:
    """A module's matrix, or stack of matrices, by rows; parts are those of `QuantizedMatrix`.

    Attributes:
        codes: Bytes, or words of 32 bits.
    """

    codes: Shaped[np.ndarray, "*rows words"]
    scales: Shaped[np.ndarray, "*rows group"]
    zeros: UInt8[np.ndarray, "*rows group"] | None = None
    offsets: Shaped[np.ndarray, "*rows group"] | None = None


@dataclass(frozen=True)
class Module:
    """The tensors of one module.

    Attributes:
        name: Its name in the checkpoint.
        shape: The shape of its weight: (row, column), or (expert, row, column) of a stack.
        places: Its tensors by the last part of their names: `qweight`.
        sizes: The config keys of the shape, for messages.
    """

    config: Path
    name: str
    shape: Shape
    places: Mapping[str, TensorPlace]
    sizes: Callable[[], str]

    def place(self, part: str) -> TensorPlace:
        """The place of a tensor that the module needs."""
        if part not in self.places:
            raise CheckpointError(
                f"{self.config} declares quantized weights, but '{self.name}.{part}' is missing; download it again"
            )
        return self.places[part]

    def read(self, part: str) -> NDArray[Any]:
        """A tensor, memory-mapped; words of 32 bits without a sign."""
        tensor = self.place(part).read()
        return tensor.view(np.uint32) if tensor.dtype == np.int32 else tensor

    def refusal(self, problem: str) -> CheckpointError:
        """The error for tensors that contradict each other or the config."""
        parts = ", ".join(f"{part} {place.shape}" for part, place in sorted(self.places.items()))
        return CheckpointError(
            f"'{self.name}' ({parts}) {problem}; {self.config} says {self.sizes()}; download or quantize it again"
        )

    def check_kinds(self, kinds: Mapping[str, tuple[str, ...]]) -> None:
        """Refuses tensors of other types, and tensors that a format does not have."""
        for part, place in self.places.items():
            known = (*FLOATS, "F64") if part == "bias" else kinds.get(part)
            if known is None:
                raise self.refusal(f"is quantized and has '{part}' too, which Edge does not read")
            if place.kind not in known:
                raise self.refusal(f"has '{part}' of type {place.kind}, which must be {' or '.join(known)}")

    def fit(
        self, widths: Sequence[int], scales: str, shapes: Callable[[int, int], Mapping[str, Shape]]
    ) -> tuple[int, int]:
        """Bits of a code and columns of a group, which the shapes of the tensors state.

        Args:
            widths: Bits of a code that are read.
            scales: The part with a scale for each group.
            shapes: The shapes that the parts need, given bits and number of groups.
        """
        columns = self.shape[-1]
        for groups in self.place(scales).shape:
            for bits in widths:
                fits = (self.place(part).shape == shape for part, shape in shapes(bits, max(groups, 1)).items())
                if all(fits) and columns % groups == 0:
                    return bits, columns // groups
        raise self.refusal(f"is no matrix of shape {self.shape} with {_listed(widths)} bits")

    def check_stated(self, bits: int, group: int, stated: Collection[tuple[int, int]]) -> None:
        """Refuses a quantization that the config does not state; a group of -1 is a whole row."""
        if not {(bits, group), (bits, -1 if group == self.shape[-1] else group)} & set(stated):
            said = " or ".join(f"{width} bits in groups of {size}" for width, size in sorted(stated))
            raise self.refusal(f"has {bits} bits in groups of {group}, but the config says {said}")

    def order(self, part: str, group: int) -> Int[np.ndarray, " column"] | None:
        """The columns in the order of their groups; None if they are stored in it.

        Raises:
            CheckpointError: the groups have unequal sizes, or other numbers.
        """
        if part not in self.places:
            return None
        groups = np.asarray(self.places[part].read())
        if groups.shape == self.shape[-1:] and (groups == -1).all():  # no one has set it
            return None
        if not np.array_equal(np.sort(groups), np.arange(self.shape[-1]) // group):
            raise self.refusal(f"has '{part}' that does not give {group} columns to each group")
        order = np.argsort(groups, kind="stable").astype(np.int32)
        return None if np.array_equal(order, np.arange(len(order))) else order

    def layout(self, title: str, bits: int, group: int, zero: Zero, *, ordered: bool = False) -> Layout:
        """The layout of the matrix. Raises CheckpointError for a size of groups that Edge does not read."""
        whole = next((size for size in _SIZES if group % size == 0), None)
        if whole is None:
            raise self.refusal(f"has groups of {group} columns; Edge reads multiples of {_SIZES[-1]}")
        return Layout(f"{title} {bits} bits, groups of {group}", Scheme(bits, whole, zero, ordered), group)


@runtime_checkable
class Format(Protocol):
    """How a tool stores quantized linear layers.

    Attributes:
        mark: The part that every quantized module has, and no other one.
        order: The part with the group of each column, for formats with another order of columns.
        kinds: All parts, with the types of their numbers, as safetensors names them.
    """

    mark: ClassVar[str]
    order: ClassVar[str]
    kinds: ClassVar[Mapping[str, tuple[str, ...]]]

    def layout(self, module: Module) -> Layout:
        """How a module is quantized. Reads the order of columns, and no other tensor.

        Raises:
            CheckpointError: its tensors contradict each other or the config.
            SpecError: the config states a quantization that Edge does not read.
        """

    def rows(self, module: Module, layout: Layout) -> Rows:
        """The matrix of a module."""


def words_of(codes: int, bits: int) -> int:
    """Words of 32 bits that so many codes take."""
    return -(-codes * bits // 32)


def codes_of(words: Shaped[np.ndarray, "*rows words"], bits: int, codes: int) -> UInt8[np.ndarray, "*rows codes"]:
    """The codes of rows of words, the lowest bits first."""
    stored = np.ascontiguousarray(words).view(np.uint8)
    runs = np.pad(stored, [(0, 0)] * (stored.ndim - 1) + [(0, -stored.shape[-1] % bits)])
    return codes_from_bytes(runs, bits)[..., :codes]


def recoded(
    codes: UInt8[np.ndarray, "row bytes"],
    bits: int,
    new_bits: int,
    change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
) -> UInt8[np.ndarray, "row new_bytes"]:
    """Codes after a change, which is applied to some rows at a time to limit memory."""
    blocks = [
        codes_to_bytes(change(codes_from_bytes(codes[rows], bits)), new_bits)
        for rows in row_blocks(len(codes), codes.shape[-1] * 8 // bits)
    ]
    return np.concatenate(blocks)


def _listed(widths: Sequence[int]) -> str:
    *others, last = map(str, widths)
    return f"{', '.join(others)} or {last}" if others else last
