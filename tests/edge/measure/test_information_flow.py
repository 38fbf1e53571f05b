"""Laws of where information moves."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.measure.information_flow import Contributions, attention_rollout, contributions, value_weighted_norms
from tests.edge.measure.example_patterns import causal, previous

few = settings(max_examples=50)
seeds = st.integers(0, 2**16)


@few
@given(seed=seeds, tokens=st.integers(1, 7), scale=st.floats(0.1, 10))
def test_norms_bound_what_a_head_writes_and_grow_with_its_values(seed: int, tokens: int, scale: float) -> None:
    rng, pattern = np.random.default_rng(seed), causal(seed, tokens)[0]
    value, out = rng.standard_normal((tokens, 4)), rng.standard_normal((4, 10))
    moved = value_weighted_norms(pattern, value, out)
    one_by_one = np.linalg.norm(pattern[:, :, None] * (value @ out), axis=-1)
    np.testing.assert_allclose(moved, one_by_one, rtol=1e-4, atol=1e-6)
    written = np.linalg.norm(pattern @ value @ out, axis=-1)
    assert (written <= moved.sum(axis=-1) * (1 + 1e-4) + 1e-6).all(), "a head writes more than it moves"
    np.testing.assert_allclose(value_weighted_norms(pattern, scale * value, out), scale * moved, rtol=1e-4)


def test_a_strong_look_at_a_short_value_moves_little() -> None:
    pattern = np.array([[1.0, 0], [0.9, 0.1]], np.float32)
    value, out = np.array([[0.0, 0], [3, 4]], np.float32), np.eye(2, 5, dtype=np.float32)
    np.testing.assert_allclose(value_weighted_norms(pattern, value, out), [[0, 0], [0, 0.5]], rtol=1e-6)


def some_parts(seed: int, past: int, heads: int = 4, kv_heads: int = 2) -> tuple[np.ndarray, ...]:
    """Weight, value, out, residual and whole of one token."""
    rng = np.random.default_rng(seed)
    weight = rng.dirichlet(np.full(past, 0.5), heads).astype(np.float32)
    value = rng.standard_normal((past, kv_heads, 3)).astype(np.float32)
    out, residual = rng.standard_normal((heads, 3, 12)).astype(np.float32), rng.standard_normal(12).astype(np.float32)
    values = np.repeat(value, heads // kv_heads, axis=1)
    whole = residual + np.einsum("hp,phd,hdm->m", weight, values, out)
    return weight, value, out, residual, whole


def total(shares: Contributions) -> float:
    return float(shares.heads.sum(dtype=np.float64)) + shares.residual


def test_parts_that_do_not_overlap_have_their_share_of_the_length() -> None:
    """Four parts and a residual, each on separate features: lengths 2, 6, 4, 12 and 8 of 32."""
    weight = np.array([[0.25, 0.75], [0.25, 0.75]], np.float32)
    value = np.array([[[8.0, 0]], [[0, 8]]], np.float32)
    out = np.zeros((2, 2, 5), np.float32)
    out[0, 0, 0] = out[0, 1, 1] = 1
    out[1, 0, 2] = out[1, 1, 3] = -2
    residual = np.array([0, 0, 0, 0, 8], np.float32)
    whole = np.array([2, 6, -4, -12, 8], np.float32)
    shares = contributions(weight, value, out, residual, whole)
    np.testing.assert_allclose(shares.heads, np.array([[2, 6], [4, 12]]) / 32, rtol=1e-6)
    assert shares.residual == pytest.approx(8 / 32)


def test_a_part_that_points_away_from_the_whole_counts_as_next_to_nothing() -> None:
    weight, out = np.ones((1, 1), np.float32), np.eye(2, dtype=np.float32)[None]
    value, residual = np.array([[[-1.0, 0]]], np.float32), np.array([3.0, 1], np.float32)
    shares = contributions(weight, value, out, residual, residual + value[0, 0])
    assert shares.residual == pytest.approx(2 / (2 + 1e-5)) and shares.heads[0, 0] == pytest.approx(1e-5 / 2, rel=1e-4)


@few
@given(seed=seeds, past=st.integers(1, 9))
def test_contributions_are_shares_of_one(seed: int, past: int) -> None:
    shares = contributions(*some_parts(seed, past))
    assert (shares.heads >= 0).all() and 0 < shares.residual <= 1
    assert total(shares) == pytest.approx(1, abs=1e-5)


@few
@given(seed=seeds, past=st.integers(1, 9), hidden=st.integers(1, 9))
def test_hidden_keys_take_no_share_and_change_none(seed: int, past: int, hidden: int) -> None:
    weight, value, *rest = some_parts(seed, past)
    seen = contributions(weight, value, *rest)
    unread = np.random.default_rng(seed).standard_normal((hidden, *value.shape[1:])).astype(np.float32)
    more = contributions(np.pad(weight, ((0, 0), (0, hidden))), np.concatenate([value, unread]), *rest)
    np.testing.assert_allclose(more.heads[:, :past], seen.heads, rtol=1e-6)
    assert not more.heads[:, past:].any() and more.residual == pytest.approx(seen.residual)


@few
@given(seed=seeds, past=st.integers(1, 9))
def test_heads_that_share_a_value_read_what_a_copy_of_it_holds(seed: int, past: int) -> None:
    weight, value, *rest = some_parts(seed, past, heads=4, kv_heads=2)
    shared, copied = contributions(weight, value, *rest), contributions(weight, np.repeat(value, 2, axis=1), *rest)
    np.testing.assert_array_equal(shared.heads, copied.heads)


def test_many_keys_are_measured_in_pieces_that_leave_nothing_out() -> None:
    weight, value, out, residual, whole = some_parts(5, 700)
    parts = np.einsum("hp,phd,hdm->hpm", weight, np.repeat(value, 2, axis=1), out, dtype=np.float64)
    every = np.concatenate([parts.reshape(-1, 12), residual[None]])
    whole = whole.astype(np.float64)
    near = np.maximum(np.abs(whole).sum() - np.abs(whole - every).sum(axis=-1), 1e-5)
    near[:-1] *= weight.ravel() > 0
    shares = contributions(weight, value, out, residual, whole)
    np.testing.assert_allclose(shares.heads.ravel(), near[:-1] / near.sum(), rtol=1e-5, atol=1e-10)


def test_value_heads_that_cannot_be_shared_evenly_are_refused() -> None:
    weight, value, out, residual, whole = some_parts(0, 3, heads=4, kv_heads=2)
    with pytest.raises(ValueError, match="3 query heads cannot share 2 value heads"):
        contributions(weight[:3], value, out[:3], residual, whole)


@few
@given(seed=seeds, layers=st.integers(1, 4), tokens=st.integers(1, 8))
def test_rolled_out_attention_is_a_causal_pattern(seed: int, layers: int, tokens: int) -> None:
    patterns = np.stack([causal(seed + layer, tokens, heads=2) for layer in range(layers)])
    rolled = attention_rollout(patterns)
    assert np.abs(rolled.sum(axis=-1) - 1).max() < 1e-5, f"rows sum to {rolled.sum(axis=-1)}"
    assert not np.triu(rolled, k=1).any() and (rolled >= 0).all(), "information comes from a later token"
    assert (rolled.diagonal() >= 0.5**layers * (1 - 1e-6)).all(), "the residual stream alone keeps more"


def test_heads_that_read_themselves_move_nothing() -> None:
    np.testing.assert_array_equal(attention_rollout(np.tile(np.eye(4, dtype=np.float32), (3, 2, 1, 1))), np.eye(4))


def test_each_layer_of_previous_token_heads_takes_a_step_back_half_the_time() -> None:
    layers, tokens = 3, 6
    rolled = attention_rollout(np.tile(previous(tokens), (layers, 1, 1, 1)))
    steps = [comb(layers, back) / 2**layers for back in range(layers + 1)]
    for token in (3, 4, 5):
        np.testing.assert_allclose(rolled[token, token - layers : token + 1], steps[::-1], rtol=1e-6)


def test_one_layer_is_the_mean_of_its_heads_and_the_token_itself() -> None:
    heads = np.stack([np.eye(4, dtype=np.float32), previous(4)])
    np.testing.assert_allclose(attention_rollout(heads[None]), 0.75 * np.eye(4) + 0.25 * previous(4))


def test_what_a_token_read_below_is_passed_on_above_and_not_the_other_way() -> None:
    first, second = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    first[1] = [1, 0, 0]
    second[2] = [0, 1, 0]
    assert attention_rollout(iter([first[None], second[None]]))[2, 0] == 0.25
    assert attention_rollout(iter([second[None], first[None]]))[2, 0] == 0


def test_a_rollout_needs_full_passes_of_one_length() -> None:
    with pytest.raises(ValueError, match="one layer at least"):
        attention_rollout([])
    with pytest.raises(ValueError, match="layer 0 has 2 queries and 3 keys; a rollout needs 2 of each"):
        attention_rollout(causal(0, 3)[None, :, 1:])
    with pytest.raises(ValueError, match="layer 1 has 2 queries and 2 keys; a rollout needs 3 of each"):
        attention_rollout(iter([causal(0, 3), causal(0, 2)]))
