"""Laws of counting neurons: how a text is cut does not matter, and what the counts say is what a loop would."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.measure.activation_counts import NeuronCounts, dead_share, hot_curve, hot_neuron_share

few = settings(max_examples=50)
seeds = st.integers(0, 2**16)
counts = st.lists(st.integers(0, 1000), min_size=1, max_size=40).map(lambda a: np.array(a, np.int64))
WIDTHS = (5, 8)


def some_text(seed: int, tokens: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.maximum(rng.standard_normal((tokens, width)), 0).astype(np.float32) for width in WIDTHS]


def counted(text: list[np.ndarray], threshold: float = 0.0) -> NeuronCounts:
    found = NeuronCounts.empty(WIDTHS, threshold)
    for layer, neurons in enumerate(text):
        found.add(layer, neurons)
    return found


def assert_same(one: NeuronCounts, other: NeuronCounts, what: str) -> None:
    np.testing.assert_array_equal(one.tokens, other.tokens, err_msg=what)
    for layer in range(len(WIDTHS)):
        np.testing.assert_array_equal(one.active[layer], other.active[layer], err_msg=what)


@few
@given(seed=seeds, tokens=st.integers(0, 12), threshold=st.sampled_from([0.0, 0.5, 1.0]))
def test_counts_are_what_a_loop_over_tokens_finds(seed: int, tokens: int, threshold: float) -> None:
    text = some_text(seed, tokens)
    found = counted(text, threshold)
    np.testing.assert_array_equal(found.tokens, [tokens, tokens])
    for layer, neurons in enumerate(text):
        for neuron in range(WIDTHS[layer]):
            values = [abs(float(a)) for a in neurons[:, neuron]]
            assert found.active[layer][neuron] == sum(a > threshold for a in values), f"neuron {layer}.{neuron}"


def test_negative_activations_count_as_much_as_positive_ones() -> None:
    found = NeuronCounts.empty([2], 0.1)
    found.add(0, np.array([[-3.0, 0.05], [0.0, -0.2]], np.float32))
    np.testing.assert_array_equal(found.active[0], [1, 1])


@few
@given(seed=seeds, first=st.integers(0, 10), second=st.integers(0, 10))
def test_it_does_not_matter_how_a_text_is_cut(seed: int, first: int, second: int) -> None:
    text = some_text(seed, 20)
    low, high = sorted((first, second))
    whole = counted(text)
    a, b, c = (counted([neurons[cut] for neurons in text]) for cut in (slice(low), slice(low, high), slice(high, None)))
    assert_same(a.merged(b).merged(c), whole, "three pieces, merged from the left")
    assert_same(a.merged(b.merged(c)), whole, "three pieces, merged from the right")
    assert_same(c.merged(a).merged(b), whole, "three pieces, in another order")
    assert_same(a.merged(NeuronCounts.empty(WIDTHS)), a, "nothing was merged in")


def test_merging_leaves_both_parts_as_they_were() -> None:
    one, other = counted(some_text(0, 4)), counted(some_text(1, 6))
    one.merged(other).add(0, np.ones((3, WIDTHS[0]), np.float32))
    assert_same(one, counted(some_text(0, 4)), "the left part")
    assert_same(other, counted(some_text(1, 6)), "the right part")


def test_counts_above_the_precision_of_a_float_stay_exact() -> None:
    found = NeuronCounts.empty([1])
    found.active[0][:] = 2**53
    found.add(0, np.ones((1, 1), np.float32))
    assert int(found.active[0][0]) == 2**53 + 1, f"one more than 2**53 is {int(found.active[0][0])}"


@few
@given(seed=seeds, threshold=st.sampled_from([0.0, 0.5]))
def test_stored_counts_go_on_where_they_ended(seed: int, threshold: float) -> None:
    text = some_text(seed, 10)
    stored = counted([neurons[:6] for neurons in text], threshold).to_arrays()
    resumed = NeuronCounts.from_arrays(stored)
    for layer, neurons in enumerate(text):
        resumed.add(layer, neurons[6:])
    assert resumed.threshold == threshold
    assert_same(resumed, counted(text, threshold), "resumed after 6 tokens")
    np.testing.assert_array_equal(stored["tokens"], [6, 6], err_msg="counting on changed what was stored")


def test_counts_that_do_not_belong_together_are_refused() -> None:
    found = NeuronCounts.empty(WIDTHS)
    with pytest.raises(ValueError, match=r"above 0 and above 0\.5 cannot be merged"):
        found.merged(NeuronCounts.empty(WIDTHS, 0.5))
    with pytest.raises(ValueError, match=r"\(5, 8\) and of \(5,\) neurons cannot be merged"):
        found.merged(NeuronCounts.empty([5]))
    with pytest.raises(ValueError, match="no layer 2; layers 0 to 1"):
        found.add(2, np.ones((1, 5), np.float32))
    with pytest.raises(ValueError, match="layer 1 has 8 neurons, 5 were given"):
        found.add(1, np.ones((1, 5), np.float32))
    with pytest.raises(ValueError, match="below 0, got -1"):
        NeuronCounts.empty(WIDTHS, -1.0)
    with pytest.raises(ValueError, match=r"'active\.1' is missing"):
        NeuronCounts.from_arrays({name: a for name, a in found.to_arrays().items() if name != "active.1"})


def test_a_curve_by_hand() -> None:
    active = np.array([[1, 6, 0, 3], [5, 5, 5, 5], [0, 0, 0, 0]])
    np.testing.assert_allclose(hot_curve(active), [[0.6, 0.9, 1, 1], [0.25, 0.5, 0.75, 1], [0, 0, 0, 0]])
    np.testing.assert_allclose(hot_neuron_share(active), [0.5, 1.0, 0.0])
    np.testing.assert_allclose(hot_neuron_share(active, 0.6), [0.25, 0.75, 0.0])
    np.testing.assert_allclose(hot_neuron_share(active[0]), 0.5)


@few
@given(active=counts, share=st.floats(0.01, 1.0), seed=seeds)
def test_the_fewest_neurons_that_suffice_are_found(active: np.ndarray, share: float, seed: int) -> None:
    n, total = len(active), int(active.sum())
    needed = round(float(hot_neuron_share(active, share)) * n)
    hottest = sorted(active.tolist(), reverse=True)
    if total:
        assert sum(hottest[:needed]) >= share * total - 1e-6, f"{needed} of {hottest} hold less than {share}"
        assert sum(hottest[: needed - 1]) < share * total, f"{needed - 1} of {hottest} would have sufficed"
    else:
        assert needed == 0, f"{needed} neurons are needed for no activations"
    shuffled = np.random.default_rng(seed).permutation(active)
    np.testing.assert_array_equal(hot_curve(shuffled), hot_curve(active), err_msg="the order of neurons counts")


@few
@given(active=counts)
def test_a_curve_rises_ever_more_slowly_to_one(active: np.ndarray) -> None:
    curve = hot_curve(active).astype(np.float64)
    steps = np.diff(curve, prepend=0.0)
    assert (steps >= -1e-6).all() and (np.diff(steps) <= 1e-6).all(), f"the curve of {active} is {curve}"
    assert curve[-1] == (1.0 if active.any() else 0.0), f"the curve of {active} ends at {curve[-1]}"


@pytest.mark.parametrize("n", [7, 100, 1000])
def test_neurons_that_fire_alike_are_needed_in_proportion(n: int) -> None:
    alike = np.full(n, 100)
    assert float(hot_neuron_share(alike, 0.55)) == pytest.approx(np.ceil(0.55 * n - 1e-9) / n)


def test_dead_neurons_by_hand() -> None:
    active = np.array([[0, 6, 7, 7000], [0, 0, 1, 1], [0, 0, 0, 0]])
    tokens = np.array([7000, 10, 0])
    np.testing.assert_allclose(dead_share(active, tokens), [0.5, 0.5, np.nan])
    np.testing.assert_allclose(dead_share(active, tokens, 0.2), [0.75, 1.0, np.nan])
    np.testing.assert_allclose(dead_share(active[0], np.array(7000)), 0.5)
    assert float(dead_share(np.array([6, 7]), np.array(100), 0.07)) == 0.5, "7 of 100 tokens are fewer than 7%"
