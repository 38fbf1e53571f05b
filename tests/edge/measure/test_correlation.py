"""Correlation and overlap, by hand and by numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.measure.correlation import correlation, rank_correlation, ranks, top_overlap

few = settings(max_examples=40)
entries = st.lists(st.integers(-5, 5), min_size=2, max_size=12)


def test_rows_that_are_multiples_correlate_fully_and_their_opposites_inversely() -> None:
    row = np.array([[1.0, 2.0, 4.0]])
    assert correlation(row, 3 * row + 7)[0] == pytest.approx(1)
    assert correlation(row, -row)[0] == pytest.approx(-1)


def test_correlation_is_numpy_s() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 4, 30)).astype(np.float32)
    np.testing.assert_allclose(correlation(a, b), [np.corrcoef(*rows)[0, 1] for rows in zip(a, b, strict=True)])


def test_what_does_not_vary_or_is_not_finite_has_no_correlation() -> None:
    rows = np.array([[1.0, 1.0], [np.inf, 0.0]])
    assert np.isnan(correlation(rows, np.array([[0.0, 1.0]] * 2))).all()


def test_overlap_counts_the_entries_that_both_rank_highest() -> None:
    read = np.array([[5.0, 4, 3, 0, 0], [0, 0, 0, 5, 4]])
    measured = np.array([[0.0, 9, 8, 7, 1], [9, 8, 0, 0, 1]])
    np.testing.assert_array_equal(top_overlap(read, measured, 2), [1, 0])
    np.testing.assert_array_equal(top_overlap(read, measured, 5), [5, 5])
    with pytest.raises(ValueError, match="the 6 highest of 5"):
        top_overlap(read, measured, 6)


@given(values=entries)
@few
def test_ranks_sum_to_those_of_a_row_and_equal_entries_share_theirs(values: list[int]) -> None:
    placed = ranks(np.array(values, np.float64))
    assert placed.sum() == pytest.approx(len(values) * (len(values) - 1) / 2)
    for one, place in zip(values, placed, strict=True):
        assert place == np.mean([i for i, other in enumerate(sorted(values)) if other == one])


@given(values=st.lists(st.integers(-9, 9), min_size=3, max_size=12, unique=True))
@few
def test_rank_correlation_sees_order_alone(values: list[int]) -> None:
    wide = np.array(values, np.float64)
    assert rank_correlation(wide, np.exp(wide / 3)) == pytest.approx(1.0), "a growing map changed the order"
    assert rank_correlation(wide, -(wide**3)) == pytest.approx(-1.0), "a falling map did not turn it round"


def test_rank_correlation_by_hand() -> None:
    """1 - 6 Σd² / (n (n² - 1)), with d = 1, 1, 0, 2, 2."""
    assert rank_correlation(np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 3, 6, 4.5])) == pytest.approx(
        1 - 6 * 4 / 120
    )
    assert np.isnan(rank_correlation(np.ones(4), np.arange(4.0))), "a list without order was ranked"
