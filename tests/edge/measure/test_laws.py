"""Laws of the measures: what holds for every pattern and every vector of activations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.attention_pattern import attention_pattern, visible_keys
from edge.measure.attention import entropy_bits, first_token_share
from edge.measure.overview import survey
from edge.measure.sparsity import exact_zero_share, top_p_sparsity
from edge.watch import Watch
from models.spec import AttentionWindow, Full, Sliding
from tests.tui.fake_model import FakeModel

few = settings(max_examples=60)
sizes = st.integers(1, 7)
seeds = st.integers(0, 2**16)
windows = st.one_of(st.just(Full()), st.integers(1, 9).map(Sliding))


def some_heads(seed: int, tokens: int, earlier: int, head_dim: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    query = rng.standard_normal((tokens, head_dim), np.float32) * 3
    return query, rng.standard_normal((tokens + earlier, head_dim), np.float32) * 3


@few
@given(seed=seeds, tokens=sizes, earlier=st.integers(0, 5), window=windows)
def test_every_row_of_a_pattern_sums_to_one(seed: int, tokens: int, earlier: int, window: AttentionWindow) -> None:
    query, key = some_heads(seed, tokens, earlier, 4)
    pattern = attention_pattern(query, key, 0.5, window)
    worst = float(np.abs(pattern.sum(-1) - 1).max())
    assert worst < 1e-6, f"a row of the pattern is off 1 by {worst:.2g} ({tokens} tokens after {earlier}, {window})"
    assert pattern.dtype == np.float32, f"the pattern is {pattern.dtype}, a row needs float32 to sum to 1"


@few
@given(seed=seeds, tokens=sizes, earlier=st.integers(0, 5), window=windows)
def test_nothing_leaks_from_a_hidden_key(seed: int, tokens: int, earlier: int, window: AttentionWindow) -> None:
    query, key = some_heads(seed, tokens, earlier, 4)
    leaked = attention_pattern(query, key, 0.5, window)[~visible_keys(tokens, tokens + earlier, window)]
    assert not leaked.any(), f"{np.count_nonzero(leaked)} weights on keys that {window} hides"


@few
@given(seed=seeds, tokens=st.integers(2, 7), window=windows)
def test_a_pattern_with_a_cache_is_the_end_of_the_full_pattern(seed: int, tokens: int, window: AttentionWindow) -> None:
    query, key = some_heads(seed, tokens, 0, 4)
    whole = attention_pattern(query, key, 0.5, window)
    last = attention_pattern(query[-1:], key, 0.5, window)
    worst = float(np.abs(last - whole[-1:]).max())
    assert worst < 1e-6, f"the last row alone differs from the full pass by {worst:.2g}"


def test_a_pattern_by_hand() -> None:
    key = np.array([[0.0], [np.log(3.0)]], np.float32)
    pattern = attention_pattern(np.ones((2, 1), np.float32), key, 1.0, Full())
    np.testing.assert_allclose(pattern, [[1, 0], [0.25, 0.75]], atol=1e-6)


def test_half_precision_patterns_stay_exact_and_huge_scores_finite() -> None:
    query = np.full((1, 4), 200.0, np.float16)
    pattern = attention_pattern(query, np.full((1000, 4), 200.0, np.float16), 0.5, Full())
    assert abs(float(pattern.sum()) - 1) < 1e-5, f"1,000 equal weights sum to {float(pattern.sum())}"


def test_more_queries_than_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="3 queries and 2 keys"):
        attention_pattern(np.ones((3, 2), np.float32), np.ones((2, 2), np.float32), 1.0, Full())


@few
@given(seed=seeds, tokens=sizes, earlier=st.integers(0, 5), window=windows)
def test_entropy_lies_between_one_key_and_all_visible_keys(
    seed: int, tokens: int, earlier: int, window: AttentionWindow
) -> None:
    query, key = some_heads(seed, tokens, earlier, 4)
    bits = entropy_bits(attention_pattern(query, key, 0.5, window))
    most = np.log2(visible_keys(tokens, tokens + earlier, window).sum(-1))
    assert (bits >= 0).all() and (bits <= most + 1e-5).all(), f"entropy {bits} leaves 0 .. {most} bits"


def test_entropy_of_an_even_look_is_the_log_of_the_keys() -> None:
    np.testing.assert_allclose(entropy_bits(np.full((1, 8), 0.125, np.float32)), [3.0])
    np.testing.assert_array_equal(entropy_bits(np.eye(3, dtype=np.float32)), [0, 0, 0])


def test_measures_take_a_stack_of_heads() -> None:
    query, key = some_heads(0, 5, 0, 4)
    pattern = attention_pattern(query, key, 0.5, Full())
    stack = np.stack([pattern, np.eye(5, dtype=np.float32)])
    np.testing.assert_allclose(entropy_bits(stack)[0], entropy_bits(pattern))
    np.testing.assert_array_equal(first_token_share(stack), [pattern[:, 0], [1, 0, 0, 0, 0]])


vectors = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40).map(lambda a: np.array(a, np.float32))


@few
@given(a=vectors, share=st.floats(0.05, 1.0))
def test_sparsity_is_a_share_and_one_only_for_zeros(a: np.ndarray, share: float) -> None:
    for name, value in (("exact zero", exact_zero_share(a)), ("top-p", top_p_sparsity(a, share))):
        assert 0 <= value <= 1, f"{name} share {value} of {a}"
        assert (value == 1) == (not a.any()), f"{name} share {value}, though {np.count_nonzero(a)} neurons fire"


@few
@given(a=vectors, exponent=st.integers(-20, 20))
def test_top_p_does_not_change_with_scale(a: np.ndarray, exponent: int) -> None:
    with_scale = top_p_sparsity(np.ldexp(a.astype(np.float64), exponent))
    assert with_scale == top_p_sparsity(a.astype(np.float64)), f"scaling by 2**{exponent} changed top-p of {a}"


@few
@given(a=vectors)
def test_exact_zeros_can_always_be_dropped(a: np.ndarray) -> None:
    zeros, dropped = exact_zero_share(a), top_p_sparsity(a, 1.0)
    assert dropped >= zeros - 1e-6, f"top-p 1.0 keeps silent neurons: {dropped} < {zeros}"


@few
@given(a=vectors, low=st.floats(0.05, 1.0), high=st.floats(0.05, 1.0))
def test_keeping_more_drops_fewer(a: np.ndarray, low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert top_p_sparsity(a, low) >= top_p_sparsity(a, high), f"keeping {high} of {a} dropped more than {low}"


@few
@given(seed=seeds, neurons=st.integers(1, 50), share=st.floats(0.05, 0.99))
def test_top_p_keeps_the_fewest_neurons_that_suffice(seed: int, neurons: int, share: float) -> None:
    a = np.random.default_rng(seed).standard_normal(neurons)
    kept = round((1 - float(top_p_sparsity(a, share))) * neurons)
    largest = np.sort(np.abs(a))[::-1]
    assert largest[:kept].sum() >= share * np.abs(a).sum() * (1 - 1e-9), f"{kept} neurons keep less than {share}"
    assert largest[: kept - 1].sum() < share * np.abs(a).sum(), f"{kept - 1} neurons would have sufficed"


def test_sparsity_by_hand() -> None:
    a = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [9, -1, 0, 0], [0, 0, 5, 0]], np.float32)
    np.testing.assert_allclose(exact_zero_share(a), [1, 0, 0.5, 0.75])
    np.testing.assert_allclose(top_p_sparsity(a), [1, 0, 0.75, 0.75])
    with pytest.raises(ValueError, match="0 < p <= 1"):
        top_p_sparsity(a, 0.0)


def test_a_survey_measures_every_layer_once_and_ends_complete() -> None:
    model = FakeModel()
    watch = Watch(parts=("attn.query", "attn.key", "ffn.neurons"))
    trace = model.run(ids=model.tokenizer.encode("Once upon a time"), max_new_tokens=4, watch=watch)
    steps = list(survey(trace))
    assert len(steps) == trace.spec.n_layers, f"{len(steps)} steps for {trace.spec.n_layers} layers"
    known = [int((~np.isnan(step.heads.entropy_bits).any(axis=1)).sum()) for step in steps]
    assert known == [1, 2, 3], f"layers known after each step: {known}"
    last, pattern = steps[-1], trace.pattern(2, 3)
    np.testing.assert_allclose(last.heads.entropy_bits[2, 3], entropy_bits(pattern)[1:].mean(), rtol=1e-6)
    np.testing.assert_allclose(last.heads.first_token[2, 3], pattern[1:, 0].mean(), rtol=1e-6)
    np.testing.assert_allclose(last.sparsity["exact_zero_share"][1], exact_zero_share(trace.neurons(1)))
    np.testing.assert_allclose(last.sparsity["top_p_sparsity"][1], top_p_sparsity(trace.neurons(1)))


def test_what_was_not_watched_stays_unknown_in_a_survey() -> None:
    model = FakeModel()
    trace = model.run(ids=[model.tokenizer.add("Once")], max_new_tokens=3, watch=Watch(parts=("ffn.neurons",)))
    *_, last = survey(trace)
    assert np.isnan(last.heads.entropy_bits).all() and np.isnan(last.heads.first_token).all()
    assert not np.isnan(last.sparsity["exact_zero_share"]).any(), "what was recorded is unknown"
