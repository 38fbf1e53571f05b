"""Laws of the pictures: what every scale, palette, bar and number on screen keeps to."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.picture.bars import bar
from edge.picture.levels import HIDDEN, LEVELS, UNKNOWN, Linear, Log, Scale, pool_levels, to_levels
from edge.picture.palettes import PALETTES, SIGNED, Palette, contrast, lightness
from edge.picture.pieces import quote_piece, show_piece
from edge.picture.units import show_bytes, show_count, show_number, show_share, show_time, show_weight, show_with_unit

few = settings(max_examples=60)
scales = st.sampled_from([Linear(0.0, 1.0), Log(1e-3, 1.0), Linear(-2.0, 5.0), Log(0.5, 80.0)])


@few
@given(scale=scales, values=st.lists(st.floats(-10, 100, width=32), min_size=1, max_size=30))
def test_levels_rise_with_the_value(scale: Scale, values: list[float]) -> None:
    levels = to_levels(np.sort(np.array(values, np.float32)), scale)
    assert (np.diff(levels.astype(int)) >= 0).all(), f"levels {levels} fall as values rise on {scale}"
    assert levels.max() < LEVELS, f"a value became a mark: {levels}"


@pytest.mark.parametrize("scale", [Linear(0.0, 0.8), Log(1e-4, 0.8)])
def test_the_ends_of_a_scale_are_the_first_and_last_level(scale: Scale) -> None:
    value = np.array([scale.low, scale.high, scale.low / 2, scale.high * 2], np.float32)
    np.testing.assert_array_equal(to_levels(value, scale), [0, LEVELS - 1, 0, LEVELS - 1])


def test_a_log_scale_gives_equal_factors_equal_steps() -> None:
    steps = np.diff(Log(1e-3, 1.0).place(np.array([1e-3, 1e-2, 1e-1, 1.0])))
    np.testing.assert_allclose(steps, 1 / 3)


@pytest.mark.parametrize("scale", [Linear(0.0, 1.0), Log(1e-3, 1.0)])
def test_what_is_not_a_value_gets_a_mark_and_no_color(scale: Scale) -> None:
    value = np.array([[0.5, np.nan], [np.nan, 0.5]])
    levels = to_levels(value, scale, np.array([[False, False], [True, True]]))
    assert levels[0, 1] == UNKNOWN, f"NaN became level {levels[0, 1]}"
    assert (levels[1] == HIDDEN).all(), f"hidden cells became levels {levels[1]}"


def test_a_scale_without_extent_is_refused() -> None:
    with pytest.raises(ValueError, match="low < high"):
        Linear(1.0, 1.0)
    with pytest.raises(ValueError, match="0 < low < high"):
        Log(0.0, 1.0)


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.name)
def test_a_palette_only_gets_lighter(palette: Palette) -> None:
    light = [lightness(color) for color in palette.colors]
    falls = [level for level in range(1, LEVELS) if light[level] <= light[level - 1]]
    assert len(light) == LEVELS and not falls, f"{palette.name} does not get lighter at levels {falls}"


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.name)
def test_text_can_be_read_on_every_color(palette: Palette) -> None:
    for level, color in enumerate(palette.colors):
        difference = abs(lightness(color) - lightness(contrast(color)))
        assert difference >= 0.45, (
            f"text on level {level} of {palette.name} differs by {difference:.2f} in lightness only"
        )


@few
@given(share=st.floats(-1, 2), width=st.integers(1, 40))
def test_a_bar_fills_its_cells_exactly(share: float, width: int) -> None:
    drawn = bar(share, width)
    assert len(drawn) == width, f"bar({share}, {width}) is {len(drawn)} cells"
    assert (share > 0) == (drawn.strip() != ""), f"bar({share}, {width}) is {drawn!r}"


def test_bars_by_hand() -> None:
    assert [bar(share, 2) for share in (0, 1 / 16, 0.5, 0.75, 1, float("nan"))] == ["  ", "▏ ", "█ ", "█▌", "██", "  "]


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (show_number(0.5834), "0.583"),
        (show_number(0.00012345), "0.00012"),
        (show_number(9.999), "10.0"),
        (show_number(1234.5), "1,234"),
        (show_number(float("nan")), "nan"),
        (show_weight(0.99239), "0.9924"),
        (show_weight(0.00001), "<0.0001"),
        (show_weight(0.0), "0.0000"),
        (show_time(1_234_567), "1.23 ms"),
        (show_time(999_600), "1.00 ms"),
        (show_time(12.34), "12.3 ns"),
        (show_time(61e9), "61.0 s"),
        (show_bytes(999), "999 B"),
        (show_bytes(1_234_567), "1.23 MB"),
        (show_bytes(999_900), "1.00 MB"),
        (show_bytes(3e12), "3.00 TB"),
        (show_count(6_312_448), "6.31M"),
        (show_count(260), "260"),
        (show_share(0.8634), "86.3%"),
        (show_share(0.99999), "99.9%"),
        (show_share(1.0), "100%"),
        (show_share(0.0), "0%"),
        (show_share(1e-18), "<0.01%"),
        (show_time(0.0), "0 ns"),
        (show_share(float("nan")), "nan"),
        (show_with_unit(-0.757, "share_difference"), "−75.7 percentage points"),
        (show_with_unit(0.0, "share_difference", "pp"), "0 pp"),
        (show_with_unit(0.757, "share"), "75.7%"),
        (show_with_unit(0.4258, "bits"), "0.426 bits"),
    ],
)
def test_numbers_read_with_three_digits_and_a_unit(shown: str, wanted: str) -> None:
    assert shown == wanted, f"shows {shown!r}, wanted {wanted!r}"


@few
@given(piece=st.text(max_size=20))
def test_no_piece_can_move_the_cursor(piece: str) -> None:
    shown = show_piece(piece)
    bad = [letter for letter in shown if unicodedata.category(letter)[0] == "C"]
    assert not bad, f"{piece!r} shows as {shown!r}, with control characters {bad}"


def test_pieces_by_hand() -> None:
    assert show_piece(" king\n\t\x1b[31m") == " king↵⇥\\x1b[31m"
    assert show_piece("e\u0301\u202e") == "e\\u0301\\u202e"
    assert quote_piece(" who") == "' who'"


@few
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**16))
def test_a_pooled_picture_keeps_the_furthest_level_of_every_square(
    rows: int, columns: int, block: int, seed: int
) -> None:
    level = np.random.default_rng(seed).integers(0, LEVELS + 2, (rows, columns)).astype(np.uint8)
    for middle in (0.0, (LEVELS - 1) / 2):
        pooled = pool_levels(level, block, middle)
        assert pooled.shape == (-(-rows // block), -(-columns // block))
        for row, column in np.ndindex(*pooled.shape):
            square = level[row * block : (row + 1) * block, column * block : (column + 1) * block]
            values = square[square < LEVELS].astype(float)
            if (square == UNKNOWN).any():
                assert pooled[row, column] == UNKNOWN, "a value that is no number was lost"
            elif not values.size:
                assert pooled[row, column] == HIDDEN, "a square of hidden cells shows something"
            else:
                furthest = np.abs(values - middle).max()
                assert abs(abs(float(pooled[row, column]) - middle) - furthest) < 1e-6, "a peak was lost"


def test_a_signed_palette_is_gray_in_the_middle_and_lighter_the_higher() -> None:
    shades = [lightness(color) for color in SIGNED.colors]
    assert shades == sorted(shades), "in gray, a gain and a loss look alike"
    middle = SIGNED.colors[LEVELS // 2]
    assert max(middle) - min(middle) < 12, f"no difference is drawn as {middle}"
