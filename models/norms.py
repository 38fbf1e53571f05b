"""The norms of a decoder: which, of what, and where they stand."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RMSNorm:
    """`x / rms(x) * weight`. `eps` is added to the mean square, in activations squared."""

    eps: float


@dataclass(frozen=True)
class LayerNorm:
    """`(x - mean) / std * weight + bias`. `eps` is added to the variance, in activations squared."""

    eps: float


Norm = RMSNorm | LayerNorm


@dataclass(frozen=True)
class NoNorm:
    """The head reads the residual stream as it is (OPT 350m)."""


@dataclass(frozen=True)
class NoHeadNorm:
    """Queries and keys are compared as they were projected."""


@dataclass(frozen=True)
class HeadNorm:
    """Each head's query and key are normed before they turn, all heads with the same weights."""

    norm: Norm


@dataclass(frozen=True)
class JointNorm:
    """The queries of all heads are normed as one vector before they turn, and so are the keys."""

    norm: Norm


HeadNorms = NoHeadNorm | HeadNorm | JointNorm


@dataclass(frozen=True)
class Before:
    """A sublayer norms what it reads."""


@dataclass(frozen=True)
class After:
    """A sublayer norms what it adds to the residual stream (OLMo 2)."""


@dataclass(frozen=True)
class Around:
    """A sublayer norms what it reads and what it adds (Gemma 2)."""


@dataclass(frozen=True)
class OfSum:
    """The residual stream is normed after each sublayer has added to it (OPT 350m, as in Vaswani et al. 2017)."""


Placement = Before | After | Around | OfSum
