"""Position encodings as data: rotary with its scalings, learned vectors, or none."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NoScaling:
    """No scaling of the angles."""


@dataclass(frozen=True)
class LinearScaling:
    """Divides every angle by `factor` (position interpolation, Chen et al. 2023)."""

    factor: float


@dataclass(frozen=True)
class Llama3Scaling:
    """Divides low frequencies by `factor`, keeps high ones, and interpolates between (Llama 3.1).

    Attributes:
        original: Tokens of context before the scaling.
        low, high: Rotations within `original` below which a frequency is low, and above which it is high.
    """

    factor: float
    low: float
    high: float
    original: int


@dataclass(frozen=True)
class YarnScaling:
    """Divides low frequencies by `factor`, keeps high ones, with a ramp between (YaRN, Peng et al. 2023).

    Attributes:
        original: Tokens of context before the scaling.
        fast, slow: Rotations within `original` at which the ramp begins and ends.
        amplitude: Factor of the rotated features, which sharpens attention.
        whole: Whether the ramp begins and ends at integer pairs of features.
    """

    factor: float
    original: int
    fast: float
    slow: float
    amplitude: float
    whole: bool


@dataclass(frozen=True)
class ListedScaling:
    """Divides the angle of each pair of features by its own factor (LongRoPE, Ding et al. 2024).

    Attributes:
        factors: One factor per pair.
        amplitude: Factor of the rotated features.
        within: Maximum tokens of a text for these factors; None means no limit.
    """

    factors: tuple[float, ...]
    amplitude: float
    within: int | None = None


Scaling = NoScaling | LinearScaling | Llama3Scaling | YarnScaling | ListedScaling


@dataclass(frozen=True)
class Rotary:
    """Rotary position encoding: queries and keys are rotated by an angle proportional to the position.

    Attributes:
        base: Base of the rotation periods (`rope_theta`).
        features: Leading features of each head that are rotated; the others are unchanged.
        scaling: Scaling of the angles for a longer context.
    """

    base: float
    features: int
    scaling: Scaling = NoScaling()


@dataclass(frozen=True)
class Learned:
    """A trained vector for each position is added to the embedding.

    Attributes:
        length: Number of positions with a vector.
    """

    length: int


@dataclass(frozen=True)
class NoPosition:
    """No position encoding."""
