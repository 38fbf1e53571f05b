"""The angles of rotary positions, computed once for every engine."""

import numpy as np
from numpy.typing import NDArray

from models.spec import Rotary


def inverse_periods(rotary: Rotary) -> NDArray[np.float32]:
    """Radians a token, for each pair of turned features: `base ** (-2i / features)`, shape (features/2,).

    Su et al. 2021, RoFormer, section 3.2.2.
    """
    exponent = np.arange(0, rotary.features, 2, dtype=np.float32) / np.float32(rotary.features)
    return (1.0 / np.float32(rotary.base) ** exponent).astype(np.float32)


def rotary_tables(rotary: Rotary, length: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosine and sine of every angle, each (position, features/2), positions 0 to `length - 1`."""
    angle = np.outer(np.arange(length, dtype=np.float32), inverse_periods(rotary))
    return np.cos(angle), np.sin(angle)
