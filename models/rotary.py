"""Angles of rotary position encodings, for all engines."""

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
    """Radians per token for each pair of rotated features: `base ** (-2i / features)`, shape (features/2,).

    Su et al. 2021, RoFormer, section 3.2.2; then scaled if there is a scaling.
    """
    exponent = np.arange(0, rotary.features, 2, dtype=np.float32) / np.float32(rotary.features)
    unscaled = (1.0 / np.float32(rotary.base) ** exponent).astype(np.float32)
    match rotary.scaling:
        case NoScaling():
            return unscaled
        case LinearScaling(factor):
            return unscaled / np.float32(factor)
        case Llama3Scaling() as scaling:
            return _llama3(unscaled, scaling)
        case YarnScaling() as scaling:
            return _yarn(unscaled, scaling, rotary)
        case ListedScaling(factors):
            return np.asarray(unscaled / np.array(factors), np.float32)


def _llama3(unscaled: Angles, scaling: Llama3Scaling) -> Angles:
    """Interpolates by the number of rotations within the original context; more rotations are scaled less."""
    rotations = scaling.original * unscaled.astype(np.float64) / (2 * pi)
    kept = np.clip((rotations - scaling.low) / (scaling.high - scaling.low), 0.0, 1.0)
    return np.asarray((1 - kept) * unscaled / scaling.factor + kept * unscaled, np.float32)


def _yarn(unscaled: Angles, scaling: YarnScaling, rotary: Rotary) -> Angles:
    """Interpolates by the index of a pair, with a linear ramp between two indices; later pairs are scaled more."""

    def index(rotations: float) -> float:
        return rotary.features * log(scaling.original / (rotations * 2 * pi)) / (2 * log(rotary.base))

    first, last = index(scaling.fast), index(scaling.slow)
    if scaling.whole:
        first, last = floor(first), ceil(last)
    first, last = max(first, 0), min(last, rotary.features - 1)
    width = last - first or 0.001
    kept = 1 - np.clip((np.arange(len(unscaled)) - first) / width, 0.0, 1.0)
    return np.asarray((1 - kept) * unscaled / scaling.factor + kept * unscaled, np.float32)


def amplitude(rotary: Rotary) -> float:
    """Factor of the rotated features."""
    scaling = rotary.scaling
    return scaling.amplitude if isinstance(scaling, YarnScaling | ListedScaling) else 1.0


def rotary_tables(rotary: Rotary, length: int) -> tuple[Angles, Angles]:
    """Cosine and sine tables, (position, features/2), for positions 0 to `length - 1`. Includes the amplitude."""
    angle = np.outer(np.arange(length, dtype=np.float32), inverse_periods(rotary))
    factor = np.float32(amplitude(rotary))
    return factor * np.cos(angle), factor * np.sin(angle)


def context_limit_reason(spec: DecoderSpec) -> str:
    """Why position encodings limit the context, as a clause for a message; empty if they do not."""
    scalings = [one.position.scaling for one in spec.attentions if isinstance(one.position, Rotary)]
    if any(isinstance(scaling, ListedScaling) and scaling.within == spec.context for scaling in scalings):
        return ", because beyond it LongRoPE rotates all tokens by other angles"
    return ""
