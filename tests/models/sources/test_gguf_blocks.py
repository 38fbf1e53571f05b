"""Blocks of GGUF files: matrices have exactly the weights that the gguf package gives."""

from collections.abc import Callable

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants
from hypothesis import given, settings
from hypothesis import strategies as st

from models.precision import Zero
from models.quantized import QuantizedMatrix
from models.sources.gguf.blocks import BLOCK_SCHEMES, matrix_of

HALVES = {
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "Q8_0": (0,),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
    "IQ4_NL": (0,),
    "IQ4_XS": (0,),
    "TQ2_0": (64,),
    "Q1_0": (0,),
    "MXFP4": (),
}
"""Where the blocks of each kind have float16 numbers."""

REFUSED = {"TQ1_0", "NVFP4", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"}

EXTREMES = np.array([0.0, -0.0, 2**-24, -(2**-24), 2**-14, 65504, -65504, 1], np.float16)
"""Nothing, the smallest number, the smallest that is not subnormal, the largest."""

every_kind = pytest.mark.parametrize("kind", HALVES)


def sizes(kind: str) -> tuple[int, int]:
    """Weights and bytes of a block."""
    weights, in_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    return weights, in_bytes


def random_blocks(kind: str, rows: int, in_row: int, seed: int = 0) -> np.ndarray:
    """Random bytes, but scales that are finite. A quarter of the scales is extreme; of two, each may be 0 alone."""
    drawn, (_, in_bytes) = np.random.default_rng(seed), sizes(kind)
    blocks = drawn.integers(0, 256, (rows, in_row, in_bytes), dtype=np.uint8)
    for at in HALVES[kind]:
        numbers = drawn.integers(0, 1 << 16, (rows, in_row), dtype=np.uint16).view(np.float16)
        extreme = drawn.choice(EXTREMES, numbers.shape)
        numbers = np.where(np.isfinite(numbers) & (drawn.random(numbers.shape) < 0.75), numbers, extreme)
        blocks[..., at : at + 2] = numbers[..., None].view(np.uint8)
    if kind == "MXFP4":
        blocks[..., 0] = drawn.integers(0, 251, (rows, in_row))
    return blocks.reshape(rows, -1)


def reference(kind: str, blocks: np.ndarray) -> np.ndarray:
    if kind != "Q1_0":
        return quants.dequantize(blocks, GGMLQuantizationType[kind])
    # This gguf cannot read it: a float16, and 128 bits, of which 1 is that number and 0 is less that number.
    grouped = blocks.reshape(-1, 18)
    scale = grouped[:, :2].copy().view(np.float16).astype(np.float32)
    weights = np.empty((len(grouped), 128), np.float32)
    for at in range(128):
        weights[:, at] = np.where(grouped[:, 2 + at // 8] >> at % 8 & 1, scale[:, 0], -scale[:, 0])
    return weights.reshape(len(blocks), -1)


def matrix(kind: str, blocks: np.ndarray, multiplier: float = 1.0) -> QuantizedMatrix:
    weights, in_bytes = sizes(kind)
    return matrix_of(kind, blocks, blocks.shape[1] // in_bytes * weights, multiplier)


def assert_same_bits(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    assert found.dtype == expected.dtype == np.float32 and found.shape == expected.shape
    differ = int((found.view(np.uint32) != expected.view(np.uint32)).sum())
    assert differ == 0, f"{what}: {differ} of {found.size} weights differ"


@every_kind
def test_weights_are_exactly_those_of_gguf(kind: str) -> None:
    """More blocks than are decoded in one step, and at least 2,000."""
    rows, in_row = 11, 30_000 // sizes(kind)[0] + 200
    assert rows * in_row > 2_000
    blocks = random_blocks(kind, rows, in_row)
    assert_same_bits(matrix(kind, blocks).dense(), reference(kind, blocks), kind)


@settings(deadline=None)
@given(st.sampled_from(sorted(HALVES)), st.integers(1, 5), st.integers(1, 7), st.integers(0, 1 << 32))
def test_every_shape_gives_the_weights_of_gguf(kind: str, rows: int, in_row: int, seed: int) -> None:
    blocks = random_blocks(kind, rows, in_row, seed)
    assert_same_bits(matrix(kind, blocks).dense(), reference(kind, blocks), f"{kind}, {rows} rows of {in_row} blocks")


@every_kind
def test_a_matrix_has_what_its_scheme_says(kind: str) -> None:
    blocks, scheme = random_blocks(kind, 3, 2), BLOCK_SCHEMES[kind]
    columns = 2 * sizes(kind)[0]
    found = matrix(kind, blocks)
    assert found.scheme == scheme
    assert found.shape == (3, columns)
    assert found.codes.shape == (3, columns * scheme.bits // 8)
    assert found.scales.shape == (3, columns // scheme.group)
    assert (found.zeros is not None) == (scheme.zero is Zero.WHOLE)
    assert (found.offsets is not None) == (scheme.zero is Zero.OFFSET)


def test_every_kind_that_gguf_knows_is_read_or_refused_on_purpose() -> None:
    dense = {name for name in GGMLQuantizationType.__members__ if sizes(name)[0] == 1}
    q8 = {"Q8_1", "Q8_K"}  # of activations, while a matrix is multiplied: in no file
    assert set(BLOCK_SCHEMES) | REFUSED | dense | q8 == set(GGMLQuantizationType.__members__)
    assert not REFUSED & set(BLOCK_SCHEMES)


@every_kind
@pytest.mark.parametrize("multiplier", [0.5, 0.083, -0.37])
def test_a_multiplier_changes_scales_and_offsets_only(kind: str, multiplier: float) -> None:
    blocks = random_blocks(kind, 4, 3)
    plain, scaled = matrix(kind, blocks), matrix(kind, blocks, multiplier)
    assert np.array_equal(scaled.codes, plain.codes)
    assert np.array_equal(scaled.scales, plain.scales * np.float32(multiplier))
    if plain.offsets is not None and scaled.offsets is not None:
        assert np.array_equal(scaled.offsets, plain.offsets * np.float32(multiplier))


@every_kind
def test_half_a_matrix_has_half_the_weights(kind: str) -> None:
    blocks = random_blocks(kind, 4, 3)
    assert_same_bits(matrix(kind, blocks, 0.5).dense(), reference(kind, blocks) * np.float32(0.5), kind)


@every_kind
def test_a_stack_of_experts_has_their_rows_one_after_another(kind: str) -> None:
    blocks = random_blocks(kind, 6, 1)
    stack = matrix_of(kind, blocks, sizes(kind)[0], n_experts=3)
    assert_same_bits(stack.dense(), reference(kind, blocks).reshape(3, 2, -1), kind)


WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "in another order": lambda blocks: blocks[[4, 0, 3, 1, 2]],
    "each second": lambda blocks: blocks[::2],
    "backwards": lambda blocks: blocks[::-1],
    "at an odd address": lambda blocks: np.frombuffer(b"-" + blocks.tobytes(), np.uint8, offset=1).reshape(5, -1),
}


@every_kind
@pytest.mark.parametrize("way", WAYS)
def test_rows_may_lie_anywhere(kind: str, way: str) -> None:
    rows = WAYS[way](random_blocks(kind, 5, 2))
    assert_same_bits(matrix(kind, rows).dense(), reference(kind, np.ascontiguousarray(rows)), f"{kind}, rows {way}")


@pytest.mark.parametrize(("kind", "at"), [(kind, at) for kind, places in HALVES.items() for at in places])
@pytest.mark.parametrize("damage", [np.inf, -np.inf, np.nan])
def test_a_number_that_is_not_finite_is_an_error(kind: str, at: int, damage: float) -> None:
    blocks = random_blocks(kind, 3, 2)
    blocks[1, sizes(kind)[1] :][at : at + 2] = np.array([damage], np.float16).view(np.uint8)
    with pytest.raises(ValueError, match="some of its scales are not finite, or too large"):
        matrix(kind, blocks)


def test_an_exponent_that_gives_infinite_weights_is_an_error() -> None:
    """255 stands for NaN in the standard; with 253 and 254, the largest values are beyond float32."""
    for exponent in (253, 254, 255):
        blocks = random_blocks("MXFP4", 3, 2)
        blocks[1, 17] = exponent
        with pytest.raises(ValueError, match="some of its scales are not finite, or too large"):
            matrix("MXFP4", blocks)


@every_kind
def test_a_multiplier_that_gives_infinite_weights_is_an_error(kind: str) -> None:
    blocks = random_blocks(kind, 3, 2, seed=1)
    for at in HALVES[kind]:
        blocks.reshape(3, 2, -1)[..., at : at + 2] = np.array([65504], np.float16).view(np.uint8)
    with pytest.raises(ValueError, match="some of its scales are not finite, or too large"):
        matrix(kind, blocks, 3e38)
