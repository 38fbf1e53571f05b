"""Laws of maps: a linear one is found, a non-linear one is not, and dimensions are counted as they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.measure.linearity import effective_rank, linear_fit_r2, participation_ratio_of_spectrum

few = settings(max_examples=30)
seeds = st.integers(0, 2**16)


def turned(rng: np.random.Generator, n: int) -> np.ndarray:
    """A random rotation."""
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def crossed(lengths: list[float]) -> np.ndarray:
    """Rows ± length along each axis: their mean is 0, their singular values are √2 times the lengths."""
    axes = np.diag(lengths)
    return np.concatenate([axes, -axes])


@few
@given(seed=seeds, features=st.integers(1, 12), out=st.integers(1, 5))
def test_an_affine_map_is_linear_to_the_last_digit(seed: int, features: int, out: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((80, features)) * rng.lognormal(0, 3, features)
    y = x @ rng.standard_normal((features, out)) + 1000 * rng.standard_normal(out)
    found = linear_fit_r2(x, y)
    assert found == pytest.approx(1.0, abs=1e-9), f"R² of an affine map is {found}"


@few
@given(seed=seeds, features=st.integers(1, 6))
def test_a_fit_equals_the_least_squares_of_numpy(seed: int, features: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((60, features))
    y = np.tanh(2 * x @ rng.standard_normal((features, 3))) + 0.3 * rng.standard_normal((60, 3))
    with_one = np.concatenate([x, np.ones((60, 1))], axis=1)
    weights = np.linalg.lstsq(with_one[:45], y[:45], rcond=None)[0]
    squared_errors = ((y[45:] - with_one[45:] @ weights) ** 2).sum()
    expected = 1 - squared_errors / ((y[45:] - y[45:].mean(axis=0)) ** 2).sum()
    assert linear_fit_r2(x, y) == pytest.approx(expected, abs=1e-6)


@few
@given(seed=seeds, scale=st.floats(0.001, 1000))
def test_linearity_does_not_depend_on_units_or_on_where_zero_is(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((100, 4))
    y = np.maximum(x @ rng.standard_normal((4, 3)), 0)
    first = linear_fit_r2(x, y)
    other = linear_fit_r2((x * scale + rng.standard_normal(4)) * rng.lognormal(0, 2, 4), scale * y - 5)
    assert other == pytest.approx(first, abs=1e-6), f"R² {first} became {other}"


def test_a_parabola_is_no_line() -> None:
    x = np.random.default_rng(0).permutation(np.linspace(-1, 1, 4000))[:, None]
    found = linear_fit_r2(x, x**2)
    assert abs(found) < 0.02, f"R² of a parabola on both sides of 0 is {found}"
    assert linear_fit_r2(x, x**3) == pytest.approx(21 / 25, abs=0.02), "x³ is 21/25 linear on -1 to 1"


def test_noise_fitted_by_many_features_predicts_nothing() -> None:
    rng = np.random.default_rng(0)
    found = linear_fit_r2(rng.standard_normal((100, 60)), rng.standard_normal((100, 4)))
    assert found < 0, f"60 features fitted to 75 rows of noise have R² {found}"


def test_features_that_repeat_or_never_vary_do_no_harm() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((80, 3))
    y = x @ rng.standard_normal((3, 2))
    doubled = np.concatenate([x, x, np.full((80, 1), 0.1), np.zeros((80, 1))], axis=1)
    assert linear_fit_r2(doubled, y) == pytest.approx(1.0, abs=1e-9)
    doubled[75:, -2] = 5.0
    assert linear_fit_r2(doubled, y) == pytest.approx(1.0, abs=1e-9), "a feature that varies later ruins the fit"


def test_only_held_out_rows_are_judged() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((80, 2))
    y = x @ rng.standard_normal((2, 2))
    y[60:] = -y[60:]
    assert linear_fit_r2(x, y) < -1, "the map turned round after three quarters, which were fitted"
    assert linear_fit_r2(x[:60], y[:60], 0.5) == pytest.approx(1.0)


def test_an_output_that_never_varies_has_no_r2() -> None:
    x = np.random.default_rng(0).standard_normal((20, 2))
    assert np.isnan(linear_fit_r2(x, np.zeros((20, 3))))


def test_too_few_rows_are_refused_with_the_number_that_is_needed() -> None:
    x = np.ones((16, 12))
    with pytest.raises(ValueError, match=r"12 of 16 rows to fit 12 features .* at least 13"):
        linear_fit_r2(x, x)
    with pytest.raises(ValueError, match="one that is held out"):
        linear_fit_r2(x[:, :2], x, 1.0)


RANKS = {"effective rank": effective_rank, "participation ratio": participation_ratio_of_spectrum}
each_rank = pytest.mark.parametrize("name", RANKS)


@each_rank
@pytest.mark.parametrize("n", [1, 2, 7])
def test_equal_axes_are_counted_one_by_one(name: str, n: int) -> None:
    found = RANKS[name](crossed([3.0] * n))
    assert found == pytest.approx(n), f"{name} of {n} equal axes is {found}"


def test_ranks_of_two_unequal_axes_by_hand() -> None:
    x = crossed([3.0, 1.0])
    assert effective_rank(x) == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))
    assert participation_ratio_of_spectrum(x) == pytest.approx((9 + 1) ** 2 / (81 + 1))


@few
@given(seed=seeds, tokens=st.integers(2, 15), features=st.integers(1, 15))
def test_ranks_equal_those_of_the_singular_values(seed: int, tokens: int, features: int) -> None:
    x = np.random.default_rng(seed).standard_normal((tokens, features))
    sigma = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    sigma = sigma[sigma > 1e-6 * sigma.max()]
    p = sigma / sigma.sum()
    assert effective_rank(x) == pytest.approx(np.prod(p**-p), rel=1e-6)
    assert participation_ratio_of_spectrum(x) == pytest.approx((sigma**2).sum() ** 2 / (sigma**4).sum(), rel=1e-6)


@few
@given(seed=seeds, tokens=st.integers(2, 15), features=st.integers(1, 15))
def test_participation_is_at_most_the_effective_rank_and_that_at_most_the_rank(
    seed: int, tokens: int, features: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((tokens, features)) * rng.lognormal(0, 1, features)
    least, spread, most = participation_ratio_of_spectrum(x), effective_rank(x), min(tokens - 1, features)
    assert 1 - 1e-9 <= least <= spread + 1e-9 <= most + 2e-9, f"1, {least}, {spread}, {most} do not rise"


@each_rank
@few
@given(seed=seeds, exponent=st.integers(-500, 500), wide=st.booleans())
def test_rank_does_not_change_when_rows_are_turned_scaled_or_shifted(
    name: str, seed: int, exponent: int, wide: bool
) -> None:
    rng = np.random.default_rng(seed)
    tokens, features = (6, 9) if wide else (20, 9)
    x = rng.standard_normal((tokens, features)) * rng.lognormal(0, 1, features)
    moved = np.ldexp(x @ turned(rng, features) + 10 * rng.standard_normal(features), exponent)
    first, other = RANKS[name](x), RANKS[name](moved[rng.permutation(tokens)])
    assert other == pytest.approx(first, rel=1e-6), f"{name} {first} became {other}"


@each_rank
def test_rows_that_are_all_the_same_span_nothing(name: str) -> None:
    assert RANKS[name](np.zeros((5, 3))) == 0.0
    assert RANKS[name](np.full((7, 3), 0.1)) == 0.0, "rounding of the mean counts as a dimension"
    with pytest.raises(ValueError, match="needs at least 2 rows, got 1"):
        RANKS[name](np.ones((1, 3)))


@each_rank
def test_a_line_has_one_dimension_in_any_precision(name: str) -> None:
    rng = np.random.default_rng(0)
    line = (rng.standard_normal((50, 1)) * rng.standard_normal((1, 30)) + 3).astype(np.float32)
    assert RANKS[name](line) == pytest.approx(1.0, abs=1e-6), f"{name} of a line is {RANKS[name](line)}"
