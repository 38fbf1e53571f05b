"""Codes as bit streams: as numpy's own bits say, and as MLX reads them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.code_bytes import codes_from_bytes, codes_to_bytes

WIDTHS = (2, 3, 4, 5, 6, 8)
LANES = {2: 4, 3: 8, 4: 2, 5: 8, 6: 4, 8: 1}
"""Codes of each width that are joined: a row has a multiple of them."""


def random_codes(bits: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << bits, shape, dtype=np.uint8)


shapes = st.sampled_from(WIDTHS).flatmap(
    lambda bits: st.tuples(
        st.just(bits),
        st.lists(st.integers(1, 3), max_size=2),
        st.integers(1, 40).map(lambda lanes: lanes * LANES[bits]),
        st.integers(0, 1 << 32),
    )
)


@given(shapes)
def test_codes_are_a_stream_of_bits_lowest_first(asked: tuple[int, list[int], int, int]) -> None:
    bits, rows, columns, seed = asked
    codes = random_codes(bits, *rows, columns, seed=seed)
    single = np.unpackbits(codes[..., None], axis=-1, bitorder="little")[..., :bits]
    stream = np.packbits(single.reshape(*rows, -1), axis=-1, bitorder="little")
    stored = codes_to_bytes(codes, bits)
    assert stored.dtype == np.uint8
    assert np.array_equal(stored, stream), f"{bits} bits, {codes.shape}: the bytes are not the codes' bits in order"


@given(shapes)
def test_codes_come_back_from_bytes(asked: tuple[int, list[int], int, int]) -> None:
    bits, rows, columns, seed = asked
    codes = random_codes(bits, *rows, columns, seed=seed)
    back = codes_from_bytes(codes_to_bytes(codes, bits), bits)
    assert back.dtype == np.uint8
    assert np.array_equal(back, codes), f"{bits} bits, {codes.shape}: other codes came back"


@pytest.mark.parametrize("bits", WIDTHS)
def test_the_order_in_memory_does_not_matter(bits: int) -> None:
    """A transposed matrix, and every second column, lie in memory otherwise than their shape says."""
    transposed = random_codes(bits, 64, 6).T
    strided = random_codes(bits, 6, 128)[:, ::2]
    for codes in (transposed, strided):
        stored = codes_to_bytes(codes, bits)
        assert np.array_equal(stored, codes_to_bytes(codes.copy(), bits)), "the bytes depend on the order in memory"
        assert np.array_equal(codes_from_bytes(np.asfortranarray(stored), bits), codes), "other codes came back"


@pytest.mark.parametrize("bits", WIDTHS)
def test_codes_are_only_read(bits: int) -> None:
    codes = random_codes(bits, 4, 64)
    codes.flags.writeable = False
    stored = codes_to_bytes(codes, bits)
    stored.flags.writeable = False
    assert np.array_equal(codes_from_bytes(stored, bits), codes)


@pytest.mark.parametrize("bits", WIDTHS)
def test_mlx_reads_the_same_codes(bits: int) -> None:
    """Scales are powers of two, and biases few bits, so that no weight is rounded, however MLX computes it."""
    mx = pytest.importorskip("mlx.core", reason="needs mlx, which is not installed here")
    codes = random_codes(bits, 48, 256)
    drawn = np.random.default_rng(1)
    scales = (2.0 ** drawn.integers(-6, 6, (48, 8))).astype(np.float32)
    biases = (drawn.integers(-999, 999, (48, 8)) / 64).astype(np.float32)
    words = mx.array(codes_to_bytes(codes, bits).view(np.uint32))
    read = np.array(mx.dequantize(words, mx.array(scales), mx.array(biases), group_size=32, bits=bits))
    weights = scales[..., None] * codes.reshape(48, 8, 32) + biases[..., None]
    assert np.array_equal(read, weights.reshape(48, 256)), f"MLX reads other weights with {bits} bits"
