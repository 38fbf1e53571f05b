"""Laws of key-value neurons: rankings by hand and by loop, and triggers that do not depend on how a text is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.measure import neurons as measure_neurons
from edge.measure.neurons import (
    Triggers,
    agreement_rate,
    composition_rate,
    dominant,
    promoted,
    top_token,
    vector_norms,
)

few = settings(max_examples=50)
seeds = st.integers(0, 2**16)


def test_norms_of_three_and_four_and_of_large_half_precision_values() -> None:
    np.testing.assert_allclose(vector_norms(np.array([[3.0, -4.0], [0.0, 0.0]])), [5, 0])
    np.testing.assert_allclose(vector_norms(np.full((1, 4), 30_000, np.float16)), [60_000])


def test_dominant_neurons_by_hand() -> None:
    neurons = np.array([1.0, -2.0, 0.5, 0.0], np.float32)
    index, coefficient = dominant(neurons, np.array([1.0, 1.0, 10.0, 99.0], np.float32), 3)
    np.testing.assert_array_equal(index, [2, 1, 0])
    np.testing.assert_array_equal(coefficient, [0.5, -2.0, 1.0])
    np.testing.assert_array_equal(dominant(np.ones(5, np.float32), np.ones(5, np.float32), 2)[0], [0, 1])


@few
@given(seed=seeds, neurons=st.integers(1, 30), data=st.data())
def test_no_memory_that_is_left_out_writes_more_than_a_dominant_one(
    seed: int, neurons: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    k = data.draw(st.integers(1, neurons))
    a, norms = rng.standard_normal(neurons), rng.lognormal(0, 1, neurons)
    index, coefficient = dominant(a, norms, k)
    strength = np.abs(a) * norms
    assert (np.diff(strength[index]) <= 0).all(), f"strengths {strength[index]} do not fall"
    left = np.delete(strength, index)
    assert len(set(index.tolist())) == k and (left <= strength[index].min()).all(), f"{left} were left out"
    np.testing.assert_allclose(coefficient, a[index], rtol=1e-6)


@few
@given(seed=seeds, count=st.integers(1, 9), vocab=st.integers(1, 30), data=st.data())
def test_promoted_tokens_are_the_ends_of_each_memory_s_ranking(
    seed: int, count: int, vocab: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    k = data.draw(st.integers(1, vocab))
    values, unembedding = rng.standard_normal((count, 4)), rng.standard_normal((vocab, 4))
    found = promoted(values, unembedding, k)
    for memory, value in enumerate(values):
        logits = [float(row @ value) for row in unembedding]
        falling = sorted(range(vocab), key=lambda token: -logits[token])
        np.testing.assert_array_equal(found.top[memory], falling[:k], err_msg=f"promoted by memory {memory}")
        np.testing.assert_array_equal(found.bottom[memory], falling[::-1][:k], err_msg=f"suppressed by {memory}")
        np.testing.assert_allclose(found.top_scores[memory], [logits[t] for t in found.top[memory]], atol=1e-5)
        np.testing.assert_allclose(found.bottom_scores[memory], [logits[t] for t in found.bottom[memory]], atol=1e-5)
    np.testing.assert_array_equal(top_token(values, unembedding), found.top[:, 0])


def test_a_negative_memory_promotes_what_it_suppressed() -> None:
    rng = np.random.default_rng(0)
    values, unembedding = rng.standard_normal((6, 4)), rng.standard_normal((20, 4))
    found, against = promoted(values, unembedding, 5), promoted(-values, unembedding, 5)
    np.testing.assert_array_equal(against.top, found.bottom)
    np.testing.assert_allclose(against.top_scores, -found.bottom_scores)


def test_of_equal_scores_the_lower_id_comes_first() -> None:
    values, unembedding = np.array([[1.0]]), np.array([[1.0], [3.0], [3.0], [0.0]])
    np.testing.assert_array_equal(promoted(values, unembedding, 3).top, [[1, 2, 0]])
    np.testing.assert_array_equal(top_token(values, unembedding), [1])


def test_a_large_vocabulary_is_scored_in_blocks_to_the_same_end(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values, unembedding = rng.standard_normal((23, 4)), rng.standard_normal((50, 4))
    whole, tokens = promoted(values, unembedding, 4), top_token(values, unembedding)
    for scores in (1, 150):
        monkeypatch.setattr(measure_neurons, "_SCORES_AT_ONCE", scores)
        np.testing.assert_array_equal(promoted(values, unembedding, 4).top, whole.top, err_msg=f"{scores} at once")
        np.testing.assert_array_equal(promoted(values, unembedding, 4).bottom, whole.bottom)
        np.testing.assert_array_equal(top_token(values, unembedding), tokens)


def test_more_tokens_than_there_are_cannot_be_asked_for() -> None:
    values, unembedding = np.ones((2, 3)), np.ones((5, 3))
    with pytest.raises(ValueError, match="k must be 1 to 5, the size of the vocabulary, got 6"):
        promoted(values, unembedding, 6)
    with pytest.raises(ValueError, match="k must be 1 to 2, the number of neurons, got 0"):
        dominant(np.ones(2), np.ones(2), 0)


def seen(neurons: np.ndarray, next_tokens: np.ndarray, first: int = 0) -> Triggers:
    found = Triggers.empty(neurons.shape[1])
    found.add(neurons, next_tokens, first)
    return found


def assert_same(one: Triggers, other: Triggers, what: str) -> None:
    np.testing.assert_array_equal(one.coefficient, other.coefficient, err_msg=what)
    np.testing.assert_array_equal(one.position, other.position, err_msg=what)
    np.testing.assert_array_equal(one.next_token, other.next_token, err_msg=what)


def test_triggers_by_hand() -> None:
    neurons = np.array([[0, 5, -1], [2, 5, -3], [1, 0, 0]], np.float32)
    found = seen(neurons, np.array([10, 11, 12]), first=100)
    np.testing.assert_array_equal(found.coefficient, [2, 5, 0])
    np.testing.assert_array_equal(found.position, [101, 100, -1], err_msg="the earliest of equals; none below 0")
    np.testing.assert_array_equal(found.next_token, [11, 10, -1])


@few
@given(seed=seeds, first=st.integers(0, 20), second=st.integers(0, 20))
def test_triggers_do_not_depend_on_how_a_text_is_cut(seed: int, first: int, second: int) -> None:
    rng = np.random.default_rng(seed)
    neurons = rng.integers(-2, 4, (20, 6)).astype(np.float32)  # few values, so that many are equal
    following = rng.integers(0, 50, 20)
    low, high = sorted((first, second))
    whole = seen(neurons, following)
    cuts = ((0, low), (low, high), (high, 20))
    a, b, c = (seen(neurons[start:end], following[start:end], start) for start, end in cuts)
    assert_same(a.merged(b).merged(c), whole, "merged from the left")
    assert_same(a.merged(b.merged(c)), whole, "merged from the right")
    assert_same(c.merged(a).merged(b), whole, "merged in another order")
    piecewise = Triggers.empty(6)
    for start, end in reversed(cuts):
        piecewise.add(neurons[start:end], following[start:end], start)
    assert_same(piecewise, whole, "added piece by piece, the last one first")


@few
@given(seed=seeds)
def test_a_trigger_is_where_the_coefficient_is_largest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    neurons, following = rng.standard_normal((12, 5)).astype(np.float32), rng.integers(0, 50, 12)
    found = seen(neurons, following)
    for neuron in range(5):
        hardest = max(range(12), key=lambda token: neurons[token, neuron])
        active = neurons[hardest, neuron] > 0
        assert found.position[neuron] == (hardest if active else -1), f"the trigger of neuron {neuron}"
        assert found.next_token[neuron] == (following[hardest] if active else -1), f"what follows it, neuron {neuron}"


def test_triggers_of_different_layers_do_not_merge() -> None:
    with pytest.raises(ValueError, match="triggers of 3 and 4 neurons cannot be merged"):
        Triggers.empty(3).merged(Triggers.empty(4))


def test_agreement_by_hand() -> None:
    assert agreement_rate(np.array([1, 2, 3, 4]), np.array([1, 9, 3, 9])) == 0.5
    assert agreement_rate(np.array([1, 2, 3]), np.array([1, -1, 5])) == 0.5, "a memory without a trigger counts"
    assert np.isnan(agreement_rate(np.array([1]), np.array([-1])))


def test_random_neurons_agree_by_chance_alone() -> None:
    rng = np.random.default_rng(0)
    found = agreement_rate(rng.integers(0, 10, 20_000), rng.integers(0, 10, 20_000))
    assert found == pytest.approx(0.1, abs=0.01), f"ten tokens at random agree {found} of the time"


def test_composition_by_hand() -> None:
    tops = np.array([7, 8, 9])
    active = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], bool)
    found = composition_rate(np.array([8, 9, 5, 7]), tops, active)
    assert found == pytest.approx(2 / 3), "token 0 agrees with memory 1, token 3 has no active memory"
    assert np.isnan(composition_rate(np.array([7]), tops, np.zeros((1, 3), bool)))


@few
@given(seed=seeds, tokens=st.integers(1, 8), count=st.integers(1, 8))
def test_composition_is_what_a_loop_over_neurons_finds(seed: int, tokens: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    output, tops = rng.integers(0, 5, tokens), rng.integers(0, 5, count)
    active = rng.random((tokens, count)) < 0.4
    differs = [output[t] not in set(tops[active[t]].tolist()) for t in range(tokens) if active[t].any()]
    found = composition_rate(output, tops, active)
    assert found == pytest.approx(np.mean(differs)) if differs else np.isnan(found), f"{found} of {differs}"


def test_a_single_active_memory_decides_what_the_ffn_promotes() -> None:
    rng = np.random.default_rng(0)
    values, unembedding = rng.standard_normal((6, 4)), rng.standard_normal((30, 4))
    alone = np.eye(6)
    found = composition_rate(top_token(alone @ values, unembedding), top_token(values, unembedding), alone > 0)
    assert found == 0.0, f"{found} of the tokens differ from their only memory"
