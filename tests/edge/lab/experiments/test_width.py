"""F3: dimensions that were built in are the dimensions that are found."""

import numpy as np
import pytest

from edge.lab.claim import Finding, Number
from edge.lab.effect import Verdict
from edge.lab.experiments.width import EXPERIMENT
from tests.edge.lab.contexts import tiny_lab, zoo_lab

RELU = "neox-full-rotary-relu"
RANDOM = np.random.default_rng(11)


def number(finding: Finding, key: str) -> Number:
    return next(number for number in finding.numbers if number.key == key)


def in_all_layers(**parts: np.ndarray) -> dict[str, np.ndarray]:
    return {
        f"layers.{layer}.ffn.{part.replace('_', '.')}": value for layer in range(3) for part, value in parts.items()
    }


def test_neurons_that_see_one_direction_spread_by_their_activation_alone() -> None:
    one = np.outer(RANDOM.standard_normal(128), RANDOM.standard_normal(32)).astype(np.float32) / 6
    with tiny_lab(RELU, in_all_layers(up_weight=one), tokens=300) as lab:
        found = number(EXPERIMENT.measure(lab), "neuron_effective_rank")
    assert found.baseline == pytest.approx(1, abs=0.01), "a map of rank 1 spans one dimension before the activation"
    assert found.value > 1.5, "each neuron has a threshold of its own, so ReLU bends the line into more dimensions"


def test_an_ffn_that_writes_along_one_direction_is_found_to_write_one_dimension() -> None:
    one = np.outer(RANDOM.standard_normal(32), RANDOM.random(128)).astype(np.float32) / 6
    with tiny_lab(RELU, in_all_layers(down_weight=one), tokens=300) as lab:
        finding = EXPERIMENT.measure(lab)
    for key in ("output_effective_rank", "output_participation_ratio"):
        assert number(finding, key).value == pytest.approx(1, abs=0.01), f"{key} of one direction"
    assert number(finding, "expansion_ratio").value == 128 / 32


def test_a_linear_ffn_is_wide_and_still_uses_no_more_dimensions() -> None:
    with tiny_lab(RELU, in_all_layers(up_bias=np.full(128, 50, np.float32)), tokens=300) as lab:
        finding = EXPERIMENT.measure(lab)
    found = number(finding, "neuron_effective_rank")
    assert found.value == pytest.approx(found.baseline, rel=1e-3), "all neurons are on: nothing is bent"
    assert found.value <= 32, "a linear map of 32 features spans 32 dimensions at most"
    assert finding.verdict is Verdict.NOT_SUPPORTED, finding.summary


def test_an_ffn_as_narrow_as_what_it_reads_does_not_expand() -> None:
    with tiny_lab("layers-that-differ", tokens=300) as lab:
        ratio = number(EXPERIMENT.measure(lab), "expansion_ratio").value
    assert ratio == pytest.approx((40 + 56 + 40) / 3 / 24), "the mean over layers that differ"


def test_a_trained_ffn_expands_and_comes_back() -> None:
    with zoo_lab(tokens=400) as lab:
        finding = EXPERIMENT.measure(lab)
    values = {found.key: found.value for found in finding.numbers}
    for place, most in (("input", 256), ("neuron", 397), ("output", 256)):
        ratio, rank = values[f"{place}_participation_ratio"], values[f"{place}_effective_rank"]
        assert 1 <= ratio <= rank <= most, f"{place}: participation ratio {ratio:.1f}, effective rank {rank:.1f}"
    assert finding.verdict is Verdict.SUPPORTED, finding.summary


def test_fewer_tokens_than_features_are_not_applicable() -> None:
    with zoo_lab(tokens=200) as lab:
        finding = EXPERIMENT.measure(lab)
    assert finding.verdict is Verdict.NOT_APPLICABLE and "--tokens" in finding.summary, finding.summary
