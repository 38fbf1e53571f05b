"""How a decoder tells positions apart, as data: rotary angles and their scalings, learned vectors, or not at all."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NoScaling:
    """Angles as the base gives them."""


@dataclass(frozen=True)
class LinearScaling:
    """Every angle is divided by `factor`: as many more positions fit into a turn (Chen et al. 2023)."""

    factor: float


@dataclass(frozen=True)
class Llama3Scaling:
    """Slow angles are divided by `factor`, fast ones stay, those between are mixed (Llama 3.1).

    Attributes:
        original: Tokens of context before the scaling.
        low, high: Turns within `original` below which an angle is slow, above which it is fast.
    """

    factor: float
    low: float
    high: float
    original: int


@dataclass(frozen=True)
class YarnScaling:
    """Slow angles are divided by `factor`, fast ones stay, with a ramp between (Peng et al. 2023, YaRN).

    Attributes:
        original: Tokens of context before the scaling.
        fast, slow: Turns within `original` at which the ramp begins and ends.
        amplitude: What turned features are multiplied by, which sharpens attention.
        whole: The ramp begins and ends at whole pairs of features.
    """

    factor: float
    original: int
    fast: float
    slow: float
    amplitude: float
    whole: bool


@dataclass(frozen=True)
class ListedScaling:
    """The angle of each pair of features is divided by a number of its own (Ding et al. 2024, LongRoPE).

    Attributes:
        factors: One for each pair.
        amplitude: What turned features are multiplied by.
        within: Tokens of the longest text that these factors are for; None for any text.
    """

    factors: tuple[float, ...]
    amplitude: float
    within: int | None = None


Scaling = NoScaling | LinearScaling | Llama3Scaling | YarnScaling | ListedScaling


@dataclass(frozen=True)
class Rotary:
    """Queries and keys are turned by an angle that grows with the position.

    Attributes:
        base: Period base of the angles, in tokens.
        features: Leading features of each head that turn; the others pass unchanged.
        scaling: How the angles were changed for a longer context.
    """

    base: float
    features: int
    scaling: Scaling = NoScaling()


@dataclass(frozen=True)
class Learned:
    """A trained vector for each position is added to the embedding.

    Attributes:
        length: Positions that have a vector.
    """

    length: int


@dataclass(frozen=True)
class NoPosition:
    """Nothing tells positions apart here."""
