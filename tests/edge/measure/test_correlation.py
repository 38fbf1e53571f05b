"""Correlation and overlap, by hand and by numpy."""

import numpy as np
import pytest

from edge.measure.correlation import correlation, top_overlap


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
