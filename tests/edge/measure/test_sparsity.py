"""Laws of sparsity: what each definition says by hand, and what it may not depend on."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.measure.neurons import vector_norms
from edge.measure.sparsity import (
    below_share,
    cett,
    cett_sparsity,
    exact_zero_share,
    gini,
    hoyer,
    output_norms,
    participation_ratio,
    quantile_threshold,
    top_k_energy,
)

few = settings(max_examples=50)
seeds = st.integers(0, 2**16)
vectors = st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=40).map(lambda a: np.array(a, np.float32))

ZEROS, EQUAL, ALONE = np.zeros(4), np.array([2.0, -2.0, 2.0, 2.0]), np.array([0.0, 0.0, -7.0, 0.0])
Measure = Callable[[np.ndarray], np.ndarray]
MEASURES: dict[str, tuple[Measure, tuple[float, float, float]]] = {  # of four neurons: all zero, all equal, one active
    "top-1 energy": (lambda a: top_k_energy(a, 1), (1.0, 0.25, 1.0)),
    "Hoyer": (hoyer, (1.0, 0.0, 1.0)),
    "Gini": (gini, (1.0, 0.0, 0.75)),
    "participation ratio": (participation_ratio, (0.0, 4.0, 1.0)),
}
each_measure = pytest.mark.parametrize("name", MEASURES)


def some_ffn(seed: int, tokens: int = 40, neurons: int = 24, model: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """ReLU activations of very different strength, and value vectors of different length."""
    rng = np.random.default_rng(seed)
    active = np.maximum(rng.standard_normal((tokens, neurons)), 0) * rng.lognormal(0, 1.5, neurons)
    return active.astype(np.float32), (rng.standard_normal((neurons, model)) * rng.lognormal(0, 0.5, (neurons, 1)))


@each_measure
def test_a_zero_an_even_and_a_one_hot_token_measure_as_stated(name: str) -> None:
    measure, expected = MEASURES[name]
    np.testing.assert_allclose(measure(np.stack([ZEROS, EQUAL, ALONE])), expected, atol=1e-7)
    one_by_one = [float(measure(a)) for a in (ZEROS, EQUAL, ALONE)]
    np.testing.assert_allclose(one_by_one, expected, atol=1e-7, err_msg=f"{name} of a single token")


def test_measures_of_three_and_four() -> None:
    a = np.array([3.0, -4.0])
    assert float(top_k_energy(a, 1)) == pytest.approx(16 / 25)
    assert float(hoyer(a)) == pytest.approx((2**0.5 - 7 / 5) / (2**0.5 - 1), abs=1e-6)
    assert float(gini(a)) == pytest.approx(1 - 2 * (3 / 7 * 1.5 / 2 + 4 / 7 * 0.5 / 2))
    assert float(participation_ratio(a)) == pytest.approx(625 / (81 + 256))


@each_measure
@few
@given(a=vectors, exponent=st.integers(-250, 250), seed=seeds)
def test_scale_sign_and_order_of_neurons_do_not_count(name: str, a: np.ndarray, exponent: int, seed: int) -> None:
    measure, _ = MEASURES[name]
    changed = np.ldexp(np.random.default_rng(seed).permutation(-a.astype(np.float64)), exponent)
    first, second = float(measure(a.astype(np.float64))), float(measure(changed))
    assert second == pytest.approx(first, rel=1e-5, abs=1e-6), f"{name} of {a}: {first}, scaled and shuffled {second}"


@each_measure
@few
@given(a=vectors)
def test_every_measure_stays_in_its_range(name: str, a: np.ndarray) -> None:
    value, n = float(MEASURES[name][0](a)), len(a)
    lowest, highest = {"top-1 energy": (1 / n, 1.0), "participation ratio": (1.0, n)}.get(name, (0.0, 1.0))
    if not a.any():
        assert value == MEASURES[name][1][0], f"{name} of silence is {value}"
    else:
        assert lowest - 1e-6 <= value <= highest + 1e-6, f"{name} of {a} is {value}, outside {lowest} to {highest}"


@few
@given(a=vectors)
def test_gini_is_half_the_relative_mean_difference(a: np.ndarray) -> None:
    c = np.abs(a.astype(np.float64))
    if c.any():
        differences = np.abs(c[:, None] - c[None, :]).sum() / (2 * len(c) * c.sum())
        assert float(gini(a)) == pytest.approx(differences, abs=1e-5), f"Gini of {a}"


@few
@given(a=vectors, seed=seeds)
def test_copying_every_neuron_keeps_gini_and_doubles_participation(a: np.ndarray, seed: int) -> None:
    twice = np.random.default_rng(seed).permutation(np.concatenate([a, a]))
    assert float(gini(twice)) == pytest.approx(float(gini(a)), abs=1e-5)
    assert float(participation_ratio(twice)) == pytest.approx(2 * float(participation_ratio(a)), rel=1e-5)


@few
@given(a=vectors, data=st.data())
def test_energy_grows_with_k_up_to_all_of_it(a: np.ndarray, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(a)))
    energy = np.sort(a.astype(np.float64) ** 2)[::-1]
    expected = energy[:k].sum() / energy.sum() if energy.sum() > 0 else 1.0
    assert float(top_k_energy(a, k)) == pytest.approx(expected, abs=1e-6), f"energy of the top {k} of {a}"
    assert float(top_k_energy(a, len(a))) == pytest.approx(1.0)


@few
@given(a=vectors, low=st.floats(0, 100), high=st.floats(0, 100))
def test_below_share_counts_strictly_smaller_magnitudes(a: np.ndarray, low: float, high: float) -> None:
    low, high = sorted((low, high))
    counted = sum(abs(float(x)) < high for x in a) / len(a)
    assert float(below_share(a, high)) == pytest.approx(counted), f"share of {a} below {high}"
    assert below_share(a, low) <= below_share(a, high), f"fewer of {a} lie below {high} than below {low}"
    assert float(below_share(a, 0.0)) == 0.0, "nothing is strictly below 0"


@few
@given(a=vectors, share=st.floats(0, 0.999))
def test_a_quantile_threshold_is_the_largest_that_keeps_to_its_share(a: np.ndarray, share: float) -> None:
    threshold = quantile_threshold(a, share)
    assert np.mean(np.abs(a) < threshold) <= share + 1e-6, f"more than {share} of {a} lies below {threshold}"
    wider = np.mean(np.abs(a) < np.nextafter(threshold, np.inf))
    assert wider > share - 1e-6, f"a threshold above {threshold} still leaves out only {wider} of {a}"


def test_a_threshold_calibrated_on_a_text_drops_that_share_of_it() -> None:
    a = np.random.default_rng(0).standard_normal((5, 20))
    assert float(below_share(a, quantile_threshold(a, 0.29)).mean()) == pytest.approx(0.29)
    assert quantile_threshold(np.maximum(a, 0), 0.2) == 0.0, "half of ReLU is 0; no threshold drops a fifth"


def test_an_output_is_as_long_as_its_value_vector_times_its_coefficient() -> None:
    neurons, values = some_ffn(1)
    norms = output_norms(neurons, vector_norms(values))
    written = neurons[:, :, None] * values[None, :, :]
    np.testing.assert_allclose(norms, np.sqrt((written**2).sum(axis=-1)), rtol=1e-5)
    np.testing.assert_allclose(norms[3], output_norms(neurons[3], vector_norms(values)))


@few
@given(seed=seeds, threshold=st.floats(0.0, 6.0))
def test_cett_is_the_error_of_dropping_neurons_one_by_one(seed: int, threshold: float) -> None:
    neurons, values = some_ffn(seed, tokens=5)
    for token, found in enumerate(cett(neurons, values, threshold)):
        dropped, whole = np.zeros(values.shape[1]), np.zeros(values.shape[1])
        for a, v in zip(neurons[token], values, strict=True):
            whole += a * v
            dropped += a * v if np.float32(abs(a)) * np.float32(np.linalg.norm(v)) < threshold else 0 * v
        expected = np.linalg.norm(dropped) / np.linalg.norm(whole)
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-5), f"CETT of token {token} below {threshold}"


def test_dropping_nothing_costs_nothing_and_dropping_all_costs_one() -> None:
    neurons, values = some_ffn(2)
    neurons[7] = 0
    np.testing.assert_array_equal(cett(neurons, values, 0.0), np.zeros(40))
    np.testing.assert_allclose(cett(neurons, values, 1e9), [0 if token == 7 else 1 for token in range(40)])


@few
@given(seed=seeds, target=st.floats(0.02, 0.9))
def test_the_threshold_of_cett_uses_its_budget_and_no_more(seed: int, target: float) -> None:
    neurons, values = some_ffn(seed)
    found = cett_sparsity(neurons, values, target)
    norms = output_norms(neurons, vector_norms(values))
    assert found.error == pytest.approx(float(cett(neurons, values, found.threshold).mean()), rel=1e-5)
    np.testing.assert_allclose(found.share, below_share(norms, found.threshold))
    assert found.error <= target, f"dropping below {found.threshold} costs {found.error}, more than {target}"
    following = float(np.nextafter(norms[norms >= found.threshold].min(), np.inf, dtype=np.float32))
    more = float(cett(neurons, values, following).mean())
    assert found.error >= 0.99 * target or more > target, f"one more neuron costs {more}, still within {target}"


@few
@given(seed=seeds, exponent=st.integers(-20, 20))
def test_the_share_of_cett_does_not_depend_on_scale_sign_or_the_order_of_tokens(seed: int, exponent: int) -> None:
    neurons, values = some_ffn(seed)
    first = cett_sparsity(neurons, values)
    turned = cett_sparsity(np.ldexp(-neurons[::-1], exponent), values)
    np.testing.assert_allclose(turned.share[::-1], first.share, err_msg=f"shares after scaling by 2**{exponent}")
    assert turned.threshold == pytest.approx(np.ldexp(first.threshold, exponent), rel=1e-6)


@few
@given(seed=seeds)
def test_neurons_that_are_zero_are_always_below_the_threshold_of_cett(seed: int) -> None:
    neurons, values = some_ffn(seed)
    found = cett_sparsity(neurons, values, 0.01)
    assert (found.share >= exact_zero_share(neurons) - 1e-6).all(), "CETT keeps neurons that are exactly 0"


def test_zeros_are_dropped_where_nothing_else_can_be() -> None:
    neurons = np.array([[1e-25, 0.0], [1.0, 0.0]], np.float32)
    found = cett_sparsity(neurons, np.ones((2, 1), np.float32), 0.2)
    np.testing.assert_allclose(found.share, [0.5, 0.5], err_msg=f"shares below {found.threshold}")
    assert found.error == 0.0


def test_cett_by_hand() -> None:
    values = np.eye(2, dtype=np.float32)
    neurons = np.array([[10.0, 1.0], [0.0, 1.0]], np.float32)
    np.testing.assert_allclose(cett(neurons, values, 2.0), [101**-0.5, 1.0], rtol=1e-6)
    found = cett_sparsity(neurons, values, 0.9)
    assert 1.0 < found.threshold <= 10.0, f"1 of the neurons is worth keeping, the threshold is {found.threshold}"
    np.testing.assert_allclose(found.share, [0.5, 1.0])


def test_an_inactive_ffn_can_drop_everything() -> None:
    found = cett_sparsity(np.zeros((3, 4), np.float32), np.ones((4, 2), np.float32))
    np.testing.assert_array_equal(found.share, [1, 1, 1])
    assert found.error == 0.0


def test_texts_longer_than_a_block_are_measured_to_the_end() -> None:
    neurons, values = some_ffn(3, tokens=700)
    pieces = [cett(neurons[first : first + 100], values, 1.5) for first in range(0, 700, 100)]
    np.testing.assert_allclose(cett(neurons, values, 1.5), np.concatenate(pieces), rtol=1e-4)


def test_half_precision_is_measured_in_full() -> None:
    neurons, values = some_ffn(4)
    half = (neurons.astype(np.float16), values.astype(np.float16))
    full = (half[0].astype(np.float32), half[1].astype(np.float32))
    np.testing.assert_array_equal(cett_sparsity(*half).share, cett_sparsity(*full).share)
    for name, (measure, _) in MEASURES.items():
        np.testing.assert_allclose(measure(half[0]), measure(full[0]), err_msg=name)


def test_what_cannot_be_measured_is_refused_with_the_number() -> None:
    a = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="0 <= share < 1, got 1"):
        quantile_threshold(a, 1.0)
    with pytest.raises(ValueError, match="at least one value"):
        quantile_threshold(np.zeros((0, 3), np.float32), 0.5)
    with pytest.raises(ValueError, match="k must be 1 to 3, the number of neurons, got 4"):
        top_k_energy(a, 4)
    with pytest.raises(ValueError, match="needs 2 of them, got 1"):
        hoyer(a[:, :1])
    with pytest.raises(ValueError, match="between 0 and 1, got 1"):
        cett_sparsity(a, np.ones((3, 2), np.float32), 1.0)
    with pytest.raises(ValueError, match="at least one, got none"):
        cett_sparsity(a[:0], np.ones((3, 2), np.float32))
