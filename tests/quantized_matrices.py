"""Random quantized matrices of every scheme, and checkpoints from memory with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.checkpoint import Checkpoint
from models.code_bytes import codes_to_bytes
from models.precision import Scheme, Zero
from models.quantized import QuantizedMatrices, QuantizedMatrix, groups_of
from models.sources.folder import Folder
from models.spec import DecoderSpec

BITS, GROUPS = (2, 3, 4, 5, 6, 8), (16, 32, 64, 128)

SCHEMES = [
    Scheme(bits, group, zero, ordered)
    for bits in BITS
    for group in GROUPS
    for zero in Zero
    for ordered in (False, True)
]


def random_matrix(
    scheme: Scheme, rows: int, columns: int, seed: int, n_experts: int | None = None, size: float = 1.0
) -> QuantizedMatrix:
    """A matrix of random codes, with weights of about `size`; scales of both signs, and some that are 0."""
    random, total = np.random.default_rng(seed), rows * (n_experts or 1)
    groups = groups_of(columns, scheme)
    codes = random.integers(0, 1 << scheme.bits, (total, groups * scheme.group), np.uint8)
    scales = random.uniform(0.2, 1, (total, groups)) * random.choice([-1, 1], (total, groups)) * size
    scales[random.random(scales.shape) < 0.05] = 0
    offsets = random.normal(size=(total, groups)) * size
    return QuantizedMatrix(
        scheme,
        columns,
        codes_to_bytes(codes, scheme.bits),
        (scales * 2.0 ** (1 - scheme.bits)).astype(np.float32),
        random.integers(0, 1 << scheme.bits, (total, groups), np.uint8) if scheme.zero is Zero.WHOLE else None,
        n_experts,
        offsets.astype(np.float32) if scheme.zero is Zero.OFFSET else None,
        random.permutation(columns).astype(np.int32) if scheme.ordered else None,
    )


def error_of(found: np.ndarray, x: np.ndarray, matrix: np.ndarray) -> float:
    """The largest error of `x` times a transposed matrix, relative to the sum of the magnitudes that are added."""
    wanted = x.astype(np.float64) @ matrix.T.astype(np.float64)
    assert found.shape == wanted.shape, f"the shape is {found.shape}, not {wanted.shape}"
    added = np.abs(x).astype(np.float64) @ np.abs(matrix.T).astype(np.float64)
    return float((np.abs(found - wanted) / np.maximum(added, 1e-30)).max())


@dataclass(frozen=True)
class Held:
    """A matrix from memory, in the place of one in a file."""

    matrix: QuantizedMatrix
    kind: str = "memory"

    @property
    def scheme(self) -> Scheme:
        return self.matrix.scheme

    @property
    def stored_bytes(self) -> int:
        return self.matrix.nbytes

    def read(self) -> QuantizedMatrix:
        return self.matrix


def quantized_checkpoint(
    spec: DecoderSpec, weights: Mapping[str, np.ndarray], matrices: Mapping[str, QuantizedMatrix]
) -> Checkpoint:
    """A checkpoint from memory; `weights` has those that are not quantized."""
    dense = dict(weights) | {name: matrix.dense() for name, matrix in matrices.items()}
    held = {name: Held(matrix) for name, matrix in matrices.items()}
    return Checkpoint(Folder(Path("quantized")), spec, dense, QuantizedMatrices(held))
