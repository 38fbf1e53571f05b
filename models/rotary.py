"""The angles of rotary positions, computed once for every engine."""

from math import ceil, floor, log, pi

import numpy as np
from numpy.typing import NDArray

from models.spec import (
    DecoderSpec,
    LinearScaling,
    ListedScaling,
    Llama3Scaling,
    NoScaling,
    Rotary,
    YarnScaling,
)

Angles = NDArray[np.float32]


def inverse_periods(rotary: Rotary) -> Angles:
    """Radians a token, for each pair of turned features: `base ** (-2i / features)`, shape (features/2,).

    Su et al. 2021, RoFormer, section 3.2.2; where the angles are scaled, as the scaling says.
    """
    exponent = np.arange(0, rotary.features, 2, dtype=np.float32) / np.float32(rotary.features)
    plain = (1.0 / np.float32(rotary.base) ** exponent).astype(np.float32)
    match rotary.scaling:
        case NoScaling():
            return plain
        case LinearScaling(factor):
            return plain / np.float32(factor)
        case Llama3Scaling() as scaling:
            return _llama3(plain, scaling)
        case YarnScaling() as scaling:
            return _yarn(plain, scaling, rotary)
        case ListedScaling(factors):
            return np.asarray(plain / np.array(factors), np.float32)


def _llama3(plain: Angles, scaling: Llama3Scaling) -> Angles:
    """The share kept of an angle rises with the turns it makes within the original context."""
    turns = scaling.original * plain.astype(np.float64) / (2 * pi)
    kept = np.clip((turns - scaling.low) / (scaling.high - scaling.low), 0.0, 1.0)
    return np.asarray((1 - kept) * plain / scaling.factor + kept * plain, np.float32)


def _yarn(plain: Angles, scaling: YarnScaling, rotary: Rotary) -> Angles:
    """The share kept of an angle falls with its place among the pairs, from one turning point to the other."""

    def place(turns: float) -> float:
        return rotary.features * log(scaling.original / (turns * 2 * pi)) / (2 * log(rotary.base))

    first, last = place(scaling.fast), place(scaling.slow)
    if scaling.whole:
        first, last = floor(first), ceil(last)
    first, last = max(first, 0), min(last, rotary.features - 1)
    width = last - first or 0.001
    kept = 1 - np.clip((np.arange(len(plain)) - first) / width, 0.0, 1.0)
    return np.asarray((1 - kept) * plain / scaling.factor + kept * plain, np.float32)


def amplitude(rotary: Rotary) -> float:
    """What turned features are multiplied by."""
    scaling = rotary.scaling
    return scaling.amplitude if isinstance(scaling, YarnScaling | ListedScaling) else 1.0


def rotary_tables(rotary: Rotary, length: int) -> tuple[Angles, Angles]:
    """Cosine and sine of every angle, each (position, features/2), positions 0 to `length - 1`; amplitude included."""
    angle = np.outer(np.arange(length, dtype=np.float32), inverse_periods(rotary))
    factor = np.float32(amplitude(rotary))
    return factor * np.cos(angle), factor * np.sin(angle)


def why_no_longer(spec: DecoderSpec) -> str:
    """The reason for a context that its positions set, as half a sentence; empty where there is none."""
    scalings = [layer.position.scaling for layer in spec.layers if isinstance(layer.position, Rotary)]
    if any(isinstance(scaling, ListedScaling) and scaling.within == spec.context for scaling in scalings):
        return ": past it, LongRoPE turns every token, also those already read, by other angles"
    return ""
