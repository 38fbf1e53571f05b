"""A1 distinguishes a sum of values from another map, and weights that move from weights that do not."""

import numpy as np
import pytest

from edge.lab.effect import Verdict
from edge.lab.experiments.weighted_sum import EXPERIMENT, measure
from edge.measure.linearity import r2
from tests.edge.lab.contexts import tiny_lab
from tests.tiny import TINY_SPECS, tiny_weights


def numbers(finding: object) -> dict[str, float]:
    return {number.key: number.value for number in finding.numbers}  # type: ignore[attr-defined]


def test_r2_is_1_for_the_truth_0_for_its_mean_and_below_for_worse() -> None:
    truth = np.random.default_rng(0).standard_normal((9, 2, 3))
    assert r2(truth, truth) == 1.0, "the truth does not explain itself"
    assert r2(np.broadcast_to(truth.mean(axis=0), truth.shape), truth) == pytest.approx(0.0, abs=1e-12)
    assert r2(-truth, truth) < 0.0, "the opposite explains something"
    assert np.isnan(r2(truth, np.ones_like(truth))), "what does not vary was explained"


@pytest.mark.parametrize("name", TINY_SPECS)
def test_every_kind_of_attention_is_the_sum_that_its_own_pattern_makes(name: str) -> None:
    with tiny_lab(name) as lab:
        found = numbers(measure(lab))
    assert found["pattern_r2"] > 1 - 1e-6, f"{name}: the pattern does not make what heads read"
    assert found["borrowed_pattern_r2"] < 0.9, f"{name}: another text's weights do as well"


def test_attention_whose_queries_are_zero_is_the_same_in_every_text() -> None:
    name = "llama-shared-heads-tied"
    inactive = {key: 0 * value for key, value in tiny_weights(TINY_SPECS[name], 0).items() if ".attn.query." in key}
    with tiny_lab(name, inactive) as lab:
        finding = measure(lab)
    found = numbers(finding)
    assert found["pattern_shift_bits"] == 0.0, "weights that cannot move have moved"
    assert found["borrowed_pattern_r2"] == pytest.approx(found["pattern_r2"], abs=1e-6)
    assert finding.verdict is Verdict.NOT_SUPPORTED, "fixed weights passed for dynamic ones"


def test_its_cost_is_the_passage_once_more_where_it_must_be_halved() -> None:
    with tiny_lab("llama-shared-heads-tied", tokens=20) as lab:
        assert EXPERIMENT.cost_tokens(lab) == 20
    with tiny_lab("llama-shared-heads-tied", tokens=120) as lab:
        assert EXPERIMENT.cost_tokens(lab) == 0
