"""What a mixer keeps of earlier tokens between two passes."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Generic, TypeVar


@dataclass(frozen=True)
class Growing:
    """One row per token, such as keys. An engine goes back to an earlier token by forgetting later rows.

    Attributes:
        heads, features: Shape of the row of one token. The buffer is (head, capacity, feature).
    """

    heads: int
    features: int


@dataclass(frozen=True)
class Rolling:
    """The rows of the last `tokens` tokens, such as the inputs of a convolution: (token, feature)."""

    tokens: int
    features: int


@dataclass(frozen=True)
class Fixed:
    """Numbers of a fixed shape that each token changes, such as the state of a recurrent mixer."""

    shape: tuple[int, ...]


State = Growing | Rolling | Fixed


def fixed_shape(state: Rolling | Fixed) -> tuple[int, ...]:
    """The shape of a state that does not grow."""
    return (state.tokens, state.features) if isinstance(state, Rolling) else state.shape


def numbers_of(state: State, tokens: int) -> int:
    """Numbers that the state has after `tokens` tokens."""
    match state:
        case Growing(heads, features):
            return heads * features * tokens
        case Rolling(last, features):
            return last * features
        case Fixed(shape):
            return prod(shape)


Array = TypeVar("Array")


@dataclass(frozen=True)
class Mark(Generic[Array]):
    """A place in a text to which an engine can go back.

    Attributes:
        text: Number of the text; a mark is valid until the next text begins.
        fed: Tokens before it.
        kept: Copies of the states that do not grow, by layer and name.
    """

    text: int
    fed: int
    kept: Mapping[tuple[int, str], Array]

    def back(self, fed: int) -> "Mark[Array]":
        """The place after the first `fed` tokens, for decoders whose states all grow."""
        assert not self.kept and fed <= self.fed, "only states that grow go back without a copy"
        return Mark(self.text, fed, self.kept)
