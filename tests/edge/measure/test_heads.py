"""Laws of the scores of a head: closed forms for heads that do one thing, ranges for all others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.measure.attention import effective_support, entropy_bits, first_token_share, mean_distance, prefix_matching
from edge.measure.heads import (
    confidence,
    copying_score,
    detection_share,
    duplicate_token_mask,
    induction_mask,
    ov_logits,
    positional_offset,
    previous_token_mask,
    previous_token_score,
    sink_rate,
)
from tests.edge.measure.example_patterns import causal

few = settings(max_examples=50)
seeds = st.integers(0, 2**16)
sizes = st.integers(1, 9)

SELF = np.eye(6, dtype=np.float32)
UNIFORM = (np.tri(6) / np.arange(1, 7)[:, None]).astype(np.float32)
PREVIOUS = np.eye(6, k=-1, dtype=np.float32)
PREVIOUS[0, 0] = 1
FIRST = np.zeros((6, 6), np.float32)
FIRST[:, 0] = 1
HEADS = np.stack([SELF, UNIFORM, PREVIOUS, FIRST])


def test_the_previous_token_score_is_one_for_a_head_that_does_nothing_else() -> None:
    uniform = np.mean([1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6])
    np.testing.assert_allclose(previous_token_score(HEADS), [0, uniform, 1, 1 / 5], rtol=1e-6)


def test_confidence_is_one_for_heads_that_read_one_key_and_one_nth_for_n() -> None:
    harmonic = np.mean([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6])
    np.testing.assert_allclose(confidence(HEADS), [1, harmonic, 1, 1], rtol=1e-6)


def test_a_positional_head_stands_at_one_distance() -> None:
    offset, share = positional_offset(HEADS)
    assert offset.tolist() == [0, 1, 1, 1], "equally frequent distances count as the shortest"
    np.testing.assert_allclose(share, [1, 1 / 5, 1, 1 / 5])
    third = np.stack([np.roll(SELF, -3, axis=1) * np.tri(6, k=-3, dtype=np.float32) + FIRST / 4])
    assert positional_offset(third)[0].tolist() == [3], "three of five queries look three tokens back"


def test_a_sink_is_counted_once_a_head() -> None:
    """On average the first key gets 1/6, 0.41, 1/3 and 1."""
    assert [sink_rate(HEADS, epsilon) for epsilon in (0.1, 0.3, 0.35, 0.5)] == [1, 0.75, 0.5, 0.25]
    assert sink_rate(HEADS) == 0.75
    assert sink_rate(HEADS, epsilon=0.9, key=5) == 0.25, "only the head that reads itself gives the last key anything"
    assert sink_rate(HEADS[None], epsilon=0.0, key=0) == 1.0, "the first token alone gives each head a little"


def test_numbers_of_a_row_by_hand() -> None:
    np.testing.assert_allclose(effective_support(HEADS)[:, 5], [1, 6, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(effective_support(np.array([[0.75, 0.25]], np.float32)), [1.6])
    np.testing.assert_allclose(mean_distance(HEADS)[:, 5], [0, 2.5, 1, 5], rtol=1e-6)
    np.testing.assert_allclose(mean_distance(HEADS)[:, 0], 0, err_msg="the first token can look nowhere else")


@few
@given(seed=seeds, tokens=sizes)
def test_effective_support_counts_no_more_keys_than_entropy_does(seed: int, tokens: int) -> None:
    pattern = causal(seed, tokens)
    support, keys = effective_support(pattern), 2 ** entropy_bits(pattern)
    assert (support >= 1 - 1e-5).all(), f"a token reads {support.min()} keys"
    assert (support <= keys * (1 + 1e-4)).all(), f"{support} keys by order 2, but {keys} by order 1"
    assert (keys <= np.arange(1, tokens + 1) * (1 + 1e-4)).all()


@few
@given(seed=seeds, tokens=sizes)
def test_no_token_looks_farther_than_the_first_one(seed: int, tokens: int) -> None:
    pattern = causal(seed, tokens)
    distance, place = mean_distance(pattern), np.arange(tokens)
    assert (distance >= -1e-5).all() and (distance <= place * (1 + 1e-5)).all(), f"{distance} leaves 0 .. {place}"
    assert (distance >= place * first_token_share(pattern) - 1e-4).all(), "the first key alone accounts for more"


@few
@given(seed=seeds, tokens=sizes)
def test_scores_of_heads_are_shares(seed: int, tokens: int) -> None:
    pattern = causal(seed, tokens + 1)
    scores = {"previous": previous_token_score(pattern), "confidence": confidence(pattern)}
    scores |= {"positional": positional_offset(pattern)[1], "sink": np.array(sink_rate(pattern))}
    scores["on the mask"] = detection_share(pattern, previous_token_mask(tokens + 1))
    for name, score in scores.items():
        assert ((score >= 0) & (score <= 1 + 1e-6)).all(), f"{name} score {score} is no share"
    assert (scores["previous"] <= (pattern[:, 1:].max(axis=-1)).mean(axis=-1) + 1e-6).all()


@few
@given(seed=seeds, tokens=sizes)
def test_heads_are_scored_one_by_one(seed: int, tokens: int) -> None:
    pattern, order = causal(seed, tokens + 1, heads=4), np.random.default_rng(seed).permutation(4)
    for score in (previous_token_score, confidence, effective_support, mean_distance):
        alone = np.stack([score(pattern[head]) for head in order])
        np.testing.assert_allclose(score(pattern[order]), alone, rtol=1e-6, err_msg=score.__name__)
    offset, share = positional_offset(pattern.reshape(2, 2, tokens + 1, tokens + 1))
    for head in range(4):
        alone_offset, alone_share = positional_offset(pattern[head])
        assert offset[divmod(head, 2)] == alone_offset and share[divmod(head, 2)] == alone_share


@few
@given(seed=seeds, tokens=st.integers(2, 9), cached=st.integers(1, 8))
def test_with_a_cache_the_queries_keep_their_places(seed: int, tokens: int, cached: int) -> None:
    cached = min(cached, tokens - 1)
    pattern = causal(seed, tokens)
    late = pattern[:, cached:]
    np.testing.assert_array_equal(mean_distance(late), mean_distance(pattern)[:, cached:])
    before = pattern[:, np.arange(cached, tokens), np.arange(cached, tokens) - 1]
    np.testing.assert_allclose(previous_token_score(late), before.mean(axis=-1), rtol=1e-5)
    if cached == 1:
        assert all((a == b).all() for a, b in zip(positional_offset(late), positional_offset(pattern), strict=True))
    assert sink_rate(late, key=tokens - 1) == sink_rate(pattern, key=tokens - 1), "the last key has one query"


def test_what_cannot_be_is_refused() -> None:
    pattern = np.ones((1, 3, 2), np.float32)
    for score in (previous_token_score, positional_offset, sink_rate, mean_distance):
        with pytest.raises(ValueError, match="3 queries and 2 keys"):
            score(pattern)
    with pytest.raises(ValueError, match="no key 6 in a pattern of 6 keys"):
        sink_rate(HEADS, key=6)
    with pytest.raises(ValueError, match=r"epsilon < 1, got 1"):
        sink_rate(HEADS, epsilon=1.0)
    with pytest.raises(ValueError, match="5 queries and 6 keys"):
        detection_share(HEADS[:, 1:], previous_token_mask(6)[1:])


def test_one_token_alone_says_nothing_about_places() -> None:
    alone = np.ones((2, 1, 1), np.float32)
    assert np.isnan(previous_token_score(alone)).all() and np.isnan(positional_offset(alone)[1]).all()
    assert confidence(alone).tolist() == [1, 1]


IDS = np.array([5, 7, 7, 5, 7, 5])


def test_masks_by_hand() -> None:
    assert np.argwhere(previous_token_mask(4)).tolist() == [[1, 0], [2, 1], [3, 2]]
    copies = [[2, 1], [3, 0], [4, 1], [4, 2], [5, 0], [5, 3]]
    assert np.argwhere(duplicate_token_mask(IDS)).tolist() == copies
    assert np.argwhere(induction_mask(IDS)).tolist() == [[token, key + 1] for token, key in copies]


@few
@given(ids=st.lists(st.integers(0, 4), min_size=1, max_size=10).map(np.array))
def test_masks_are_causal_and_know_ids_only_by_their_sameness(ids: np.ndarray) -> None:
    for mask in (duplicate_token_mask, induction_mask):
        found = mask(ids)
        assert not np.triu(found, k=1).any(), f"{mask.__name__} looks ahead in {ids}"
        assert (found == mask(9 - ids)).all(), f"{mask.__name__} changes when {ids} are renamed"
    assert not duplicate_token_mask(np.arange(len(ids))).any(), "no token of these comes twice"


def test_most_of_a_head_can_lie_on_a_mask_but_for_the_tokens_that_have_no_key_there() -> None:
    np.testing.assert_allclose(detection_share(HEADS, previous_token_mask(6))[2], 5 / 6)
    np.testing.assert_allclose(detection_share(HEADS, np.tri(6, dtype=np.bool_)), 1)
    np.testing.assert_array_equal(detection_share(HEADS, np.zeros((6, 6), np.bool_)), 0)


@few
@given(seed=seeds, ids=st.lists(st.integers(0, 3), min_size=5, max_size=10).map(np.array))
def test_what_lies_on_the_induction_mask_is_what_prefix_matching_counts(seed: int, ids: np.ndarray) -> None:
    pattern, mask = causal(seed, len(ids)), induction_mask(ids)
    matching = prefix_matching(pattern, ids) * mask.any(axis=-1).sum()
    np.testing.assert_allclose(detection_share(pattern, mask) * len(ids), matching, rtol=1e-4)


def test_copying_runs_from_others_only_to_the_token_itself_only() -> None:
    copier = 3 * np.eye(25)
    np.testing.assert_allclose(copying_score(np.stack([copier, -copier])), [1, -1])
    half = np.array([[2.0, 2, -4], [2, 2, -4], [0, -4, 4]])
    np.testing.assert_allclose(copying_score(half), 2 * 8 / 12 - 1)
    assert np.isnan(copying_score(np.zeros((3, 3)))), "a head that writes nothing has a copying score"


@few
@given(seed=seeds, tokens=st.integers(2, 9), scale=st.floats(0.01, 100), shift=st.floats(-9, 9))
def test_copying_knows_no_scale_no_shift_and_no_order(seed: int, tokens: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    logits, order = rng.standard_normal((tokens, tokens)), rng.permutation(tokens)
    score = float(copying_score(logits))
    assert -1 <= score <= 1, f"a copying score of {score}"
    moved = scale * logits + shift * rng.standard_normal((tokens, 1))
    assert float(copying_score(moved)) == pytest.approx(score, abs=1e-5), "a change common to all tokens counts"
    assert float(copying_score(logits[order][:, order])) == pytest.approx(score, abs=1e-5)


def test_copying_by_chance_stands_at_two_nths_less_one() -> None:
    logits = np.random.default_rng(0).standard_normal((40, 50, 50))
    assert float(copying_score(logits).mean()) == pytest.approx(2 / 50 - 1, abs=0.01)


def test_a_row_of_logits_is_of_the_token_that_is_read() -> None:
    rng = np.random.default_rng(1)
    value, out, unembedding = (rng.standard_normal(shape) for shape in ((5, 3), (3, 8), (5, 8)))
    expected = [[value[read] @ out @ unembedding[moved] for moved in range(5)] for read in range(5)]
    np.testing.assert_allclose(ov_logits(value, out, unembedding), expected, atol=1e-5)


def test_a_head_that_writes_what_it_reads_copies() -> None:
    tokens = np.linalg.qr(np.random.default_rng(1).standard_normal((16, 16)))[0]
    through = ov_logits(tokens, np.eye(16), tokens)
    np.testing.assert_allclose(copying_score(np.stack([through, -through])), [1, -1], atol=1e-4)
