"""How the next token is chosen."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from transformers import (
    LogitsProcessor,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from edge.sampling import LogProbabilities, Sampling
from models.errors import MisuseError

PROCESSORS: Mapping[str, Callable[[Any], LogitsProcessor]] = {
    "repetition_penalty": RepetitionPenaltyLogitsProcessor,
    "temperature": TemperatureLogitsWarper,
    "top_k": TopKLogitsWarper,
    "top_p": TopPLogitsWarper,
    "min_p": MinPLogitsWarper,
}
"""The settings in the order in which transformers applies them."""

LOGITS = arrays(np.float32, st.integers(1, 30), elements=st.floats(-50, 50, width=32))


@given(logits=LOGITS, temperature=st.floats(0.05, 5), k=st.integers(1, 40), p=st.floats(0.01, 1))
def test_chances_sum_to_one_and_only_allowed_tokens_have_any(
    logits: np.ndarray, temperature: float, k: int, p: float
) -> None:
    chance = Sampling(temperature=temperature, top_k=k, top_p=p).probabilities(logits)
    assert chance.sum() == pytest.approx(1.0)
    assert 1 <= np.count_nonzero(chance) <= k
    assert chance[logits.argmax()] == chance.max(), "the likeliest token is not the likeliest to be drawn"


@given(logits=LOGITS, seed=st.integers(0, 99))
def test_greedy_and_top_1_take_the_most_probable(logits: np.ndarray, seed: int) -> None:
    random = np.random.default_rng(seed)
    assert Sampling.greedy().sample(logits, random) == logits.argmax()
    assert logits[Sampling(top_k=1).sample(logits, random)] == logits.max()


def test_top_p_keeps_the_fewest_tokens_that_hold_p() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    chance = Sampling(top_p=0.6).probabilities(logits)
    assert chance == pytest.approx([0.625, 0.375, 0.0, 0.0])


@pytest.mark.parametrize("seed", range(20))
def test_chances_are_those_of_transformers(seed: int) -> None:
    """Which settings there are is drawn, too."""
    random = np.random.default_rng(seed)
    logits, text = random.standard_normal(50).astype(np.float32) * 4, random.integers(0, 50, 12).tolist()
    values = {
        "repetition_penalty": random.uniform(0.7, 1.5),
        "temperature": random.uniform(0.3, 2),
        "top_k": int(random.integers(1, 50)),
        "top_p": random.uniform(0.3, 1),
        "min_p": random.uniform(0, 0.3),
    }
    settings = {name: value for name, value in values.items() if random.random() < 0.7}
    scores = torch.tensor(logits, dtype=torch.float64)[None]
    for name, value in settings.items():
        scores = PROCESSORS[name](value)(torch.tensor([text]), scores)
    want = torch.softmax(scores, dim=-1)[0].numpy()
    found = Sampling(**settings).probabilities(logits, text)
    np.testing.assert_allclose(found, want, atol=1e-12, err_msg=str(settings))


def test_greedy_decoding_is_penalized_too() -> None:
    logits, random = np.array([2.0, 1.9, -1.0], np.float32), np.random.default_rng(0)
    penalized = Sampling(temperature=0.0, repetition_penalty=1.2)
    assert penalized.sample(logits, random, [0, 0]) == 1 and penalized.sample(logits, random, [2]) == 0
    assert np.array_equal(logits, np.array([2.0, 1.9, -1.0], np.float32)), "the model's own logits were changed"


def test_draws_follow_the_chances() -> None:
    logits = np.log(np.array([0.7, 0.2, 0.1], np.float32))
    random = np.random.default_rng(0)
    drawn = np.bincount([Sampling().sample(logits, random) for _ in range(4000)], minlength=3) / 4000
    assert drawn == pytest.approx([0.7, 0.2, 0.1], abs=0.03)


@given(logits=LOGITS)
def test_probabilities_behind_log_probabilities_sum_to_one(logits: np.ndarray) -> None:
    log = LogProbabilities(len(logits))
    assert sum(np.exp(log.of(token, logits)) for token in range(len(logits))) == pytest.approx(1.0)


@given(logits=LOGITS, shift=st.sampled_from([0.0, 1e3, -1e3]))
def test_log_probabilities_are_those_of_float64_however_large_the_logits(logits: np.ndarray, shift: float) -> None:
    logits = logits + np.float32(shift)
    exact = logits.astype(np.float64)
    exact = exact - exact.max() - np.log(np.exp(exact - exact.max()).sum())
    log, top = LogProbabilities(len(logits)), int(logits.argmax())
    assert [log.of(token, logits) for token in range(len(logits))] == pytest.approx(exact, abs=1e-5)
    assert [log.of(token, logits, top) for token in range(len(logits))] == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0}, {"temperature": float("inf")}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5},
        {"min_p": -0.1}, {"min_p": float("nan")}, {"repetition_penalty": 0.0}, {"repetition_penalty": float("inf")},
    ],
)  # fmt: skip
def test_senseless_settings_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(MisuseError, match=next(iter(wrong))):
        Sampling(**wrong)
