"""Products with quantized matrices in MLX, and rows of embeddings, are those with the dequantized matrices."""

from functools import cache

import numpy as np
import pytest

from models.precision import Scheme, Zero
from models.quantized import QuantizedMatrix
from tests.quantized_matrices import SCHEMES, error_of, random_matrix

mx = pytest.importorskip("mlx.core", reason="needs mlx, which is not installed here")

from models.mlx_quantized import Quantized, QuantizedStack  # noqa: E402

ROWS, WIDE, NARROW, EXPERTS = 24, 256, 72, 3
X = np.random.default_rng(0).normal(size=(5, WIDE)).astype(np.float32)
IDS = np.array([3, 0, 23, 3, 7])


@cache
def matrices(n_experts: int | None = None) -> tuple[QuantizedMatrix, ...]:
    """One of every scheme. Narrow ones end in a group that is not full."""
    padded = [scheme for scheme in SCHEMES if not scheme.ordered]
    cases = [(scheme, WIDE) for scheme in SCHEMES] + [(scheme, NARROW) for scheme in padded]
    return tuple(random_matrix(scheme, ROWS, columns, seed, n_experts) for seed, (scheme, columns) in enumerate(cases))


def test_products_of_every_scheme_are_exact() -> None:
    for matrix in matrices():
        x = X[:, : matrix.columns]
        error = error_of(np.array(Quantized(matrix).product(mx.array(x))), x, matrix.dense())
        assert error < 1e-6, f"{matrix.scheme} with {matrix.columns} columns is off by {error:.1e}"


def test_rows_of_every_scheme_are_exact() -> None:
    for matrix in matrices():
        rows, wanted = np.array(Quantized(matrix).rows(mx.array(IDS))), matrix.dense()[IDS]
        assert rows.shape == wanted.shape
        assert np.abs(rows - wanted).max() < 1e-6 * np.abs(wanted).max(), str(matrix.scheme)


def test_products_of_every_scheme_in_a_stack_are_exact() -> None:
    chosen = np.array([[0, 2], [1, 2], [2, 0], [0, 1], [1, 0]])
    for matrix in matrices(EXPERTS):
        stack, x = QuantizedStack(matrix, None), X[:, : matrix.columns]
        dense = matrix.dense()
        for expert in range(EXPERTS):
            error = error_of(np.array(stack.product(mx.array(x), expert)), x, dense[expert])
            assert error < 1e-6, f"expert {expert} in {matrix.scheme} is off by {error:.1e}"
        gathered = np.array(stack.gathered(mx.array(x)[:, None], mx.array(chosen)))
        for token, slots in enumerate(chosen):
            for slot, expert in enumerate(slots):
                error = error_of(gathered[token, slot][None], x[token][None], dense[expert])
                assert error < 1e-6, f"gathered: {matrix.scheme} is off by {error:.1e}"


def test_a_group_with_the_scale_0_has_its_offset_as_weights() -> None:
    matrix = random_matrix(Scheme(4, 32, Zero.OFFSET), ROWS, WIDE, 0)
    flat = QuantizedMatrix(matrix.scheme, WIDE, matrix.codes, np.zeros_like(matrix.scales), offsets=matrix.offsets)
    assert matrix.offsets is not None
    found = np.array(Quantized(flat).rows(mx.array(IDS)))
    assert np.array_equal(found, np.repeat(matrix.offsets[IDS], 32, axis=1))
