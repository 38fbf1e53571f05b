"""Laws of routing: loads and shares sum to 1, an even load is balanced, a single expert is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.measure.routing import (
    balance,
    chance_of_sharing,
    largest_weights,
    load,
    load_entropy_bits,
    router_entropy_bits,
    router_shares,
    shared_choices,
)
from models.sublayers.routers import Sigmoid, SoftmaxFirst, TopFirst

few = settings(max_examples=50)
seeds = st.integers(0, 2**16)
SIGMOID = Sigmoid(corrected=False, renormalized=True, eps=0.0)
ROUTERS = {"softmax of the chosen": TopFirst(), "softmax": SoftmaxFirst(renormalized=False), "sigmoid": SIGMOID}


def some_routing(seed: int, tokens: int = 30, experts: int = 8, slots: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and the experts with the highest ones."""
    scores = np.random.default_rng(seed).standard_normal((tokens, experts)).astype(np.float32) * 3
    return scores, np.sort(np.argsort(-scores, axis=1)[:, :slots], axis=1)


@few
@given(seeds, st.integers(1, 16), st.integers(1, 4))
def test_loads_sum_to_1_and_count_choices(seed: int, experts: int, slots: int) -> None:
    slots = min(slots, experts)
    _, chosen = some_routing(seed, experts=experts, slots=slots)
    of_experts = load(chosen, experts)
    assert of_experts.sum() == pytest.approx(1.0, abs=1e-6)
    for expert in range(experts):
        assert of_experts[expert] == pytest.approx((chosen == expert).any(axis=1).sum() / chosen.size, abs=1e-6)
    assert of_experts.max() <= 1 / slots + 1e-6, "an expert is chosen once by a token"


def test_an_even_load_is_balanced_and_has_the_largest_entropy() -> None:
    experts = 8
    chosen = np.arange(4 * experts).reshape(-1, 2) % experts
    of_experts, shares = load(chosen, experts), np.full((len(chosen), experts), 1 / experts)
    np.testing.assert_allclose(of_experts, 1 / experts)
    assert load_entropy_bits(of_experts) == pytest.approx(np.log2(experts))
    assert balance(of_experts, shares) == pytest.approx(1.0)
    np.testing.assert_allclose(router_entropy_bits(shares), np.log2(experts), rtol=1e-6)


def test_one_expert_with_all_tokens_is_as_unbalanced_as_can_be() -> None:
    experts = 8
    of_experts, shares = load(np.full((5, 1), 3), experts), np.eye(experts)[[3] * 5]
    assert load_entropy_bits(of_experts) == 0
    assert balance(of_experts, shares) == pytest.approx(experts)
    assert not router_entropy_bits(shares).any()


@few
@given(seeds)
def test_an_even_load_is_balanced_whatever_the_router_prefers(seed: int) -> None:
    scores, _ = some_routing(seed)
    even = np.full(scores.shape[1], 1 / scores.shape[1])
    assert balance(even, router_shares(scores, TopFirst())) == pytest.approx(1.0, abs=1e-5)


@few
@given(seeds, st.sampled_from(list(ROUTERS)))
def test_shares_sum_to_1_in_the_order_of_the_scores(seed: int, name: str) -> None:
    scores, _ = some_routing(seed)
    shares = router_shares(scores, ROUTERS[name])
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(np.argsort(shares, axis=1), np.argsort(scores, axis=1))


def test_shares_by_hand() -> None:
    scores = np.log(np.array([[1.0, 3.0]]))
    np.testing.assert_allclose(router_shares(scores, TopFirst()), [[0.25, 0.75]], rtol=1e-6)
    np.testing.assert_allclose(router_shares(scores, SIGMOID), [[0.4, 0.6]], rtol=1e-6)  # 1/2 and 3/4
    far = np.array([[1e4, 0.0], [-1e4, -1e4]])
    for router in ROUTERS.values():
        assert np.isfinite(router_shares(far, router)).all(), f"{router} of a forced choice overflows"


@few
@given(seeds)
def test_shares_do_not_depend_on_a_constant_that_softmax_ignores(seed: int) -> None:
    scores, _ = some_routing(seed)
    np.testing.assert_allclose(router_shares(scores + 7, TopFirst()), router_shares(scores, TopFirst()), atol=1e-5)


def test_largest_weights_leave_out_tokens_that_chose_others() -> None:
    given = np.array([[0.2, 0.8], [0.0, 1.0], [0.7, 0.3], [0.7, 0.3]], np.float32)
    assert largest_weights(given, 0, 9).tolist() == [2, 3, 0]
    assert largest_weights(given, 0, 1).tolist() == [2]
    assert largest_weights(given[1:2], 0, 3).tolist() == []


def test_without_tokens_there_is_no_load() -> None:
    none = load(np.zeros((0, 2), np.int64), 4)
    assert np.isnan(none).all() and np.isnan(balance(none, np.zeros((0, 4))))


@few
@given(seeds, st.integers(1, 8), st.integers(1, 4))
def test_the_chance_of_sharing_is_the_mean_over_all_pairs_of_tokens(seed: int, experts: int, slots: int) -> None:
    slots = min(slots, experts)
    _, chosen = some_routing(seed, tokens=12, experts=experts, slots=slots)
    pairs = [
        len(set(one) & set(other)) / slots
        for first, one in enumerate(chosen.tolist())
        for second, other in enumerate(chosen.tolist())
        if first != second
    ]
    assert chance_of_sharing(chosen, experts) == pytest.approx(np.mean(pairs))


def test_a_single_token_has_no_chance_of_sharing() -> None:
    assert np.isnan(chance_of_sharing(np.array([[0, 3]]), 4))


@few
@given(seeds, st.integers(1, 8), st.integers(1, 4))
def test_shared_choices_are_sums_over_pairs_of_tokens_of_one_label(seed: int, experts: int, slots: int) -> None:
    slots = min(slots, experts)
    random = np.random.default_rng(seed)
    _, chosen = some_routing(seed, tokens=25, experts=experts, slots=slots)
    labels, parts = random.integers(0, 5, 25), random.integers(0, 3, 25)
    found = shared_choices(chosen, labels, parts, experts)
    wanted = np.zeros_like(found)
    for one in range(25):
        for other in range(25):
            if labels[one] == labels[other]:
                shared = len(set(chosen[one]) & set(chosen[other]))
                wanted[parts[one], parts[other]] += shared, slots
    np.testing.assert_allclose(found, wanted)
