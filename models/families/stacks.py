"""How the matrices of all experts of a layer are stored: in a stack, in two, in MXFP4, or one by one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError
from models.families.views import Shape


@dataclass(frozen=True)
class Swapped:
    """A stack whose matrices are stored as (input, output)."""

    def stored_shape(self, shape: Shape) -> Shape:
        return (shape[0], shape[2], shape[1])

    def read(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        return stored.swapaxes(-1, -2)


@dataclass(frozen=True)
class Interleaved:
    """Rows of two halves, interleaved: a stack of gates above ups becomes gate 0, up 0, gate 1, up 1."""

    def stored_shape(self, shape: Shape) -> Shape:
        return shape

    def read(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        return interleaved(*np.split(stored, 2, axis=1))


def interleaved(first: NDArray[np.generic], second: NDArray[np.generic]) -> NDArray[np.generic]:
    """The rows of two stacks, interleaved: (expert, row, ...) and (expert, row, ...) become (expert, 2 * row, ...)."""
    both = np.stack([first, second], axis=2)
    return both.reshape(len(first), -1, *first.shape[2:])


MXFP4_GROUP = 32
"""Numbers that share a scale."""

_FP4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


@dataclass(frozen=True)
class Mxfp4:
    """A stack in MXFP4: blocks (expert, row, group, 16), two 4-bit floats in a byte, and scales (expert, row, group).

    A scale is a power of two, `2^(scale - 127)` (OCP Microscaling Formats 1.0, section 5.3). The low half of a byte
    comes first. The result is float32, exactly.
    """

    kinds: ClassVar[tuple[str, ...]] = ("U8",)

    def stored_shapes(self, shape: Shape, tensors: int) -> tuple[Shape, ...]:
        experts, rows, columns = shape
        if columns % MXFP4_GROUP:
            raise CheckpointError(
                f"experts are stored in MXFP4, in groups of {MXFP4_GROUP} numbers, but the config gives them rows of "
                f"{columns}; 'hidden_size' and 'intermediate_size' must be multiples of {MXFP4_GROUP}"
            )
        groups = columns // MXFP4_GROUP
        return (experts, rows, groups, MXFP4_GROUP // 2), (experts, rows, groups)

    def join(self, stored: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
        blocks, scales = (part.view(np.uint8) for part in stored)
        experts, rows, groups = scales.shape
        numbers = np.empty((*blocks.shape, 2), np.float32)
        numbers[..., 0], numbers[..., 1] = _FP4[blocks & 15], _FP4[blocks >> 4]
        exponents = scales.astype(np.int32) - 127
        with np.errstate(over="ignore"):  # the largest scales give infinity, as in transformers
            scaled = np.ldexp(numbers.reshape(experts, rows, groups, -1), exponents[..., None])
        return scaled.reshape(experts, rows, -1)


@dataclass(frozen=True)
class Join:
    """One parameter from the tensors of all experts.

    Attributes:
        n_experts: Experts, each with its own tensor. With two tensors for each, the second ones follow the first ones,
            and their rows are interleaved in the parameter.
    """

    kinds: ClassVar[tuple[str, ...]] = ()
    n_experts: int

    def stored_shapes(self, shape: Shape, tensors: int) -> tuple[Shape, ...]:
        return ((shape[1] * self.n_experts // tensors, *shape[2:]),) * tensors

    def join(self, stored: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
        stacks = [np.stack(stored[at : at + self.n_experts]) for at in range(0, len(stored), self.n_experts)]
        return stacks[0] if len(stacks) == 1 else interleaved(*stacks)


@dataclass(frozen=True)
class Halves:
    """One parameter from two stacks, gates and ups, whose rows are interleaved in the parameter."""

    kinds: ClassVar[tuple[str, ...]] = ()

    def stored_shapes(self, shape: Shape, tensors: int) -> tuple[Shape, ...]:
        return ((shape[0], shape[1] // tensors, *shape[2:]),) * tensors

    def join(self, stored: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
        return interleaved(*stored)
