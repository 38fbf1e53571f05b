"""How a parameter of ours lies in a stored tensor: as it is, transposed, or as some of its rows."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]


@runtime_checkable
class View(Protocol):
    """One way of storing a parameter."""

    def stored_shape(self, shape: Shape) -> Shape:
        """The shape of the stored tensor, given the parameter's."""

    def read(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        """The parameter, without a copy where numpy allows it."""


@dataclass(frozen=True)
class AsIs:
    """The stored tensor is the parameter."""

    def stored_shape(self, shape: Shape) -> Shape:
        return shape

    def read(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        return stored


@dataclass(frozen=True)
class Transposed:
    """Stored as (input, output), as GPT-2's Conv1D does."""

    def stored_shape(self, shape: Shape) -> Shape:
        return shape[::-1]

    def read(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        return stored.T


@dataclass(frozen=True)
class Third:
    """One of query, key and value stored below each other: `part` 0, 1 or 2. Each has as many rows.

    Attributes:
        transposed: The three lie beside each other in a Conv1D weight instead.
    """

    part: int
    transposed: bool = False

    def stored_shape(self, shape: Shape) -> Shape:
        below = (3 * shape[0], *shape[1:])
        return below[::-1] if self.transposed else below

    def read(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        below = stored.T if self.transposed else stored
        rows = below.shape[0] // 3
        return below[self.part * rows : (self.part + 1) * rows]


@dataclass(frozen=True)
class ThirdOfHeads:
    """One of query, key and value stored head by head: (head, three, head_dim, ...) flattened."""

    part: int
    n_heads: int

    def stored_shape(self, shape: Shape) -> Shape:
        return (3 * shape[0], *shape[1:])

    def read(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        rest = stored.shape[1:]
        by_head = stored.reshape(self.n_heads, 3, -1, *rest)[:, self.part]
        return by_head.reshape(-1, *rest)


@dataclass(frozen=True)
class Stored:
    """Where one parameter comes from.

    Attributes:
        tensor: Name in the checkpoint.
    """

    tensor: str
    view: View = AsIs()
