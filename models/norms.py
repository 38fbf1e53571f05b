"""The norms of a decoder: kinds, what they apply to, and their placement."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RMSNorm:
    """`x / rms(x) * weight`. `eps` is added to the mean square, in activations squared."""

    eps: float


@dataclass(frozen=True)
class LayerNorm:
    """`(x - mean) / std * weight + bias`. `eps` is added to the variance, in activations squared.

    Attributes:
        bias: Whether there is a bias; Cohere's norms have none.
    """

    eps: float
    bias: bool = True


Norm = RMSNorm | LayerNorm


@dataclass(frozen=True)
class NoNorm:
    """No final norm: the head uses the residual stream directly (OPT 350m)."""


@dataclass(frozen=True)
class NoHeadNorm:
    """No norm of queries and keys."""


@dataclass(frozen=True)
class HeadNorm:
    """Query and key of each head are normed before rotation, with the same weights for all heads."""

    norm: Norm


@dataclass(frozen=True)
class JointNorm:
    """The queries of all heads are normed as one vector before rotation, and so are the keys."""

    norm: Norm


@dataclass(frozen=True)
class OwnHeadNorm:
    """Query and key of each head are normed before rotation, with other weights for every head (StableLM 2)."""

    norm: Norm


@dataclass(frozen=True)
class RotatedHeadNorm:
    """Query and key of each head are normed after rotation, with the same weights for all heads (HunYuan)."""

    norm: Norm


HeadNorms = NoHeadNorm | HeadNorm | JointNorm | OwnHeadNorm | RotatedHeadNorm


@dataclass(frozen=True)
class Before:
    """The norm applies to a sublayer's input."""


@dataclass(frozen=True)
class After:
    """The norm applies to a sublayer's output (OLMo 2)."""


@dataclass(frozen=True)
class Around:
    """Norms apply to a sublayer's input and output (Gemma 2)."""


@dataclass(frozen=True)
class OfSum:
    """The norm applies to the residual stream after each sublayer (OPT 350m, as in Vaswani et al. 2017)."""


Placement = Before | After | Around | OfSum
