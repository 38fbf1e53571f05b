"""Laws of the divergence of attention patterns."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.measure.divergence import jensen_shannon_bits, pairwise_head_divergence
from tests.edge.measure.example_patterns import causal, previous

few = settings(max_examples=50)
seeds = st.integers(0, 2**16)


def test_heads_that_never_share_a_key_differ_by_one_bit() -> None:
    heads = np.stack([np.eye(7, dtype=np.float32), previous(7), np.eye(7, dtype=np.float32)])
    assert pairwise_head_divergence(heads).tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


def test_one_key_against_an_even_look_has_a_closed_form() -> None:
    uniform = (np.tri(5) / np.arange(1, 6)[:, None]).astype(np.float32)
    bits = []
    for keys in (2, 3, 4, 5):
        own, other = (1 + 1 / keys) / 2, 1 / keys / 2
        bits.append(-own * np.log2(own) - (keys - 1) * other * np.log2(other) - np.log2(keys) / 2)
    difference = pairwise_head_divergence(np.stack([np.eye(5, dtype=np.float32), uniform]))
    np.testing.assert_allclose(difference, [[0, np.mean(bits)], [np.mean(bits), 0]], rtol=1e-5)


@few
@given(seed=seeds, tokens=st.integers(2, 9), heads=st.integers(1, 4))
def test_divergence_of_heads_is_a_mean_over_the_queries_after_the_first(seed: int, tokens: int, heads: int) -> None:
    patterns = causal(seed, tokens, heads)
    difference = pairwise_head_divergence(patterns)
    assert (
        (difference == difference.T).all()
        and not difference.diagonal().any()
        and (difference >= 0).all()
        and (difference <= 1).all()
    )
    for one, other in combinations(range(heads), 2):
        rows = jensen_shannon_bits(patterns[one], patterns[other])[1:]
        assert difference[one, other] == pytest.approx(rows.mean(), abs=1e-6), f"heads {one} and {other}"


@few
@given(seed=seeds, tokens=st.integers(2, 9))
def test_no_way_round_by_a_third_head_is_shorter(seed: int, tokens: int) -> None:
    root = np.sqrt(pairwise_head_divergence(causal(seed, tokens, 4)))
    for a, b, c in permutations(range(4), 3):
        assert root[a, c] <= root[a, b] + root[b, c] + 1e-4, f"by head {b} it is shorter from {a} to {c}"


@few
@given(seed=seeds, tokens=st.integers(2, 9))
def test_the_order_of_heads_is_the_order_of_the_matrix(seed: int, tokens: int) -> None:
    patterns, order = causal(seed, tokens, 4), np.random.default_rng(seed).permutation(4)
    expected = pairwise_head_divergence(patterns)[np.ix_(order, order)]
    np.testing.assert_allclose(pairwise_head_divergence(patterns[order]), expected, atol=1e-6)


def test_long_patterns_are_measured_in_pieces_that_leave_nothing_out() -> None:
    patterns = causal(3, 300, 2)
    rows = jensen_shannon_bits(patterns[0], patterns[1])
    assert float(pairwise_head_divergence(patterns)[0, 1]) == pytest.approx(rows[1:].mean(), rel=1e-5)
    after_cache = pairwise_head_divergence(patterns[:, 20:])[0, 1]
    assert float(after_cache) == pytest.approx(rows[20:].mean(), rel=1e-5), "with a cache every query counts"


def test_a_single_token_distinguishes_no_heads() -> None:
    assert np.isnan(pairwise_head_divergence(np.ones((2, 1, 1), np.float32))).all()
    with pytest.raises(ValueError, match="3 queries and 2 keys"):
        pairwise_head_divergence(np.ones((1, 3, 2), np.float32))
