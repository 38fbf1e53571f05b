"""Intervals have the width that statistics gives them, and choices are made on other units than are measured."""

import numpy as np
import pytest

from edge.lab.sample import (
    SHARE,
    block_means,
    evenly_spaced,
    exact_value,
    jackknife,
    leave_one_out_best,
    mean_interval,
    ratio,
    student_t,
)


def test_quantiles_are_those_of_the_tables() -> None:
    for freedom, quantile in ((1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (10, 2.228), (30, 2.042), (200, 1.972)):
        assert student_t(freedom) == pytest.approx(quantile, rel=3e-3), f"t of {freedom} degrees of freedom"


def test_a_mean_by_hand() -> None:
    found = mean_interval([1.0, 2.0, 3.0, float("nan")])
    assert found.value == 2.0 and found.sample == 3
    assert found.high - found.value == pytest.approx(4.30265 / np.sqrt(3), rel=1e-4)
    assert mean_interval([0.9, 1.0, 1.0], SHARE).high == 1.0, "a share is above 1"
    assert np.isnan(mean_interval([2.0]).low) and mean_interval([]).sample == 0


def test_intervals_hold_the_truth_19_times_in_20() -> None:
    random = np.random.default_rng(4)
    held = []
    for _ in range(400):
        drawn = random.normal(3.0, 2.0, 8)
        found = mean_interval(drawn)
        held.append(found.low < 3.0 < found.high)
    assert 0.92 < np.mean(held) < 0.98


def test_the_jackknife_of_a_mean_is_its_standard_error_and_of_a_ratio_holds_it() -> None:
    random = np.random.default_rng(1)
    values = random.standard_normal((12, 1))
    one, other = jackknife(values, lambda some: float(some.mean())), mean_interval(values[:, 0])
    assert (one.low, one.high) == pytest.approx((other.low, other.high))
    under = random.uniform(1, 2, 40)
    found = jackknife(np.stack([0.3 * under + 0.01 * random.standard_normal(40), under], axis=1), ratio)
    assert found.low < 0.3 < found.high and found.high - found.low < 0.02
    assert np.isnan(ratio(np.zeros((3, 2)))), "a share of nothing was found"


def test_the_best_of_noise_is_not_above_it() -> None:
    """The largest mean of 200 candidates lies far above 0; what was chosen elsewhere does not."""
    noise = np.random.default_rng(9).standard_normal((16, 200))
    assert noise.mean(axis=0).max() > 0.5
    found = mean_interval(leave_one_out_best(noise))
    assert found.low < 0 < found.high
    planted = noise.copy()
    planted[:, 7] += 5
    assert leave_one_out_best(planted).mean() == pytest.approx(planted[:, 7].mean()), (
        "the best candidate was not chosen"
    )


def test_small_things() -> None:
    assert exact_value(4.0).low == exact_value(4.0).high == 4.0 and exact_value(4.0).sample is None
    assert block_means(np.arange(5.0), 2).tolist() == [0.5, 2.5, 4.0]
    assert evenly_spaced(30, 4) == [0, 10, 19, 29] and evenly_spaced(3, 12) == [0, 1, 2] and evenly_spaced(1, 4) == [0]
