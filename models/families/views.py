"""How a parameter is stored in a tensor of a checkpoint: unchanged, transposed, or as some of its rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from models.spec import DecoderSpec, Rotary

Shape = tuple[int, ...]


@runtime_checkable
class View(Protocol):
    """One way of storing a parameter."""

    def stored_shape(self, shape: Shape) -> Shape:
        """The shape of the stored tensor, given the parameter's."""

    def read(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        """The parameter, without a copy if numpy allows it."""


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
    """Query, key or value (`part` 0, 1 or 2) from one tensor that has the three one after another, with equal rows.

    Attributes:
        transposed: Whether the tensor is a Conv1D weight, with the three in its columns.
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
    """Query, key or value from one tensor that interleaves them by head: (head, three, head_dim, ...) flattened."""

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
    """Some rows of a tensor that has several parameters.

    Attributes:
        first: First row of the parameter.
        end: Row after its last row.
        of: Number of rows of the whole tensor.
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
    """Stored minus 1, as the weights of norms in Gemma; read as float32."""

    def stored_shape(self, shape: Shape) -> Shape:
        return shape

    def read(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        return 1 + stored.astype(np.float32)


@dataclass(frozen=True)
class Interleaved:
    """Heads of queries or keys whose rotation pairs neighboring features, 2i with 2i + 1.

    Edge rotates feature i with feature i + rotated/2. With the rows in that order, the rotated heads have the same
    features in another order, and products of queries and keys do not change.

    Attributes:
        head_dim: Rows of one head.
        rotated: Leading rows of each head that are rotated.
    """

    head_dim: int
    rotated: int

    def stored_shape(self, shape: Shape) -> Shape:
        return shape

    def read(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        pairs = np.arange(self.rotated).reshape(-1, 2).T.reshape(-1)
        order = np.concatenate([pairs, np.arange(self.rotated, self.head_dim)])
        return stored.reshape(-1, self.head_dim, *stored.shape[1:])[:, order].reshape(stored.shape)


@runtime_checkable
class Joining(Protocol):
    """One way of storing a parameter in several tensors."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Types of the tensors' numbers, as safetensors names them; empty for any floats."""

    def stored_shapes(self, shape: Shape, tensors: int) -> tuple[Shape, ...]:
        """The shape of each tensor, given the parameter's."""

    def join(self, stored: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
        """The parameter."""


@dataclass(frozen=True)
class Stored:
    """The stored tensor of one parameter.

    Attributes:
        tensor: Name in the checkpoint; of the first tensor, if there are several.
        others: Names of further tensors, which `join` joins.
        instead: Another way in which it may be stored, used if the first tensor of this one is missing.
    """

    tensor: str
    view: View = AsIs()
    others: tuple[str, ...] = ()
    join: Joining | None = None
    instead: "Stored | None" = None

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of all tensors."""
        return (self.tensor, *self.others)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Types of the tensors' numbers, as safetensors names them; empty for any floats."""
        return () if self.join is None else self.join.kinds

    @property
    def ways(self) -> "Iterator[Stored]":
        """This way of storing the parameter, and the others in order of preference."""
        yield self
        if self.instead is not None:
            yield from self.instead.ways

    def shapes(self, shape: Shape) -> tuple[Shape, ...]:
        """The shape of each stored tensor, given the parameter's."""
        if self.join is None:
            return (self.view.stored_shape(shape),)
        return self.join.stored_shapes(shape, len(self.tensors))

    def read(self, tensors: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
        """The parameter, from its stored tensors."""
        return self.view.read(tensors[0]) if self.join is None else self.join.join(tensors)


Part = str | tuple[str, View]


def stored_parts(
    spec: DecoderSpec, parts: Mapping[str, Part], norm: Part = "norm", root: str = "model."
) -> dict[str, Stored]:
    """The stored tensor of every parameter, for families with the tensor names of Llama.

    Args:
        parts: Name of each part within `layers.N`, with a view if it is not stored unchanged.
        norm: Name of the norm before the head.
        root: Prefix of all names except that of the head.
    """
    found = {"embed.weight": Stored(f"{root}embed_tokens.weight")}
    for kind in ("weight", "bias"):
        found |= {f"head.norm.{kind}": _stored(root, norm, kind), f"head.{kind}": Stored(f"lm_head.{kind}")}
        for layer in range(spec.n_layers):
            for ours, part in parts.items():
                found[f"layers.{layer}.{ours}.{kind}"] = _stored(f"{root}layers.{layer}.", part, kind)
    return found


def interleaved(spec: DecoderSpec) -> dict[str, Part]:
    """The queries and keys of a decoder whose rotation pairs neighboring features.

    All layers get the same order, which changes nothing in layers without rotation.
    """
    for attention in spec.attentions:
        if isinstance(attention.position, Rotary):
            view = Interleaved(attention.head_dim, attention.position.features)
            return {"attn.query": ("self_attn.q_proj", view), "attn.key": ("self_attn.k_proj", view)}
    return {}


def _stored(root: str, part: Part, kind: str) -> Stored:
    theirs, view = (part, AsIs()) if isinstance(part, str) else part
    return Stored(f"{root}{theirs}.{kind}", view)
