"""How a parameter of ours lies in a stored tensor: as it is, transposed, or as some of its rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from models.spec import DecoderSpec

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
class Rows:
    """Some rows of a tensor in which several parameters lie below each other.

    Attributes:
        first: Row at which the parameter begins.
        end: Row before which it ends.
        of: Rows of the whole tensor.
    """

    first: int
    end: int
    of: int

    def stored_shape(self, shape: Shape) -> Shape:
        return (self.of, *shape[1:])

    def read(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        return stored[self.first : self.end]


@dataclass(frozen=True)
class LessOne:
    """Stored as what is added to 1, as Gemma stores the weights of norms; read as float32."""

    def stored_shape(self, shape: Shape) -> Shape:
        return shape

    def read(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        return 1 + stored.astype(np.float32)


@dataclass(frozen=True)
class Stored:
    """Where one parameter comes from.

    Attributes:
        tensor: Name in the checkpoint.
    """

    tensor: str
    view: View = AsIs()


Part = str | tuple[str, View]


def stored_parts(
    spec: DecoderSpec, parts: Mapping[str, Part], norm: Part = "norm", root: str = "model."
) -> dict[str, Stored]:
    """Every parameter of a family whose checkpoints are laid out as Llama's.

    Args:
        parts: Name of each part within `layers.N`, with its view where it is not stored as it is.
        norm: Name of the norm before the head.
        root: What every name but the head's begins with.
    """
    found = {"embed.weight": Stored(f"{root}embed_tokens.weight")}
    for kind in ("weight", "bias"):
        found |= {f"head.norm.{kind}": _stored(root, norm, kind), f"head.{kind}": Stored(f"lm_head.{kind}")}
        for layer in range(spec.n_layers):
            for ours, part in parts.items():
                found[f"layers.{layer}.{ours}.{kind}"] = _stored(f"{root}layers.{layer}.", part, kind)
    return found


def _stored(root: str, part: Part, kind: str) -> Stored:
    theirs, view = (part, AsIs()) if isinstance(part, str) else part
    return Stored(f"{root}{theirs}.{kind}", view)
