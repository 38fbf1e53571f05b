"""F6: each definition on neurons whose sparsity is known, and the difference of the two bundled models."""

import math
from math import erf, exp, pi, sqrt

import numpy as np
import pytest

from edge.lab.claim import Finding
from edge.lab.effect import Verdict
from edge.lab.experiments.sparsity import EXPERIMENT
from tests.edge.lab.contexts import tiny_lab, zoo_lab

RELU = "neox-full-rotary-relu"
N = 128


def in_all_layers(**parts: np.ndarray) -> dict[str, np.ndarray]:
    return {
        f"layers.{layer}.ffn.{part.replace('_', '.')}": value for layer in range(3) for part, value in parts.items()
    }


def activations(pattern: np.ndarray) -> dict[str, np.ndarray]:
    """Neurons that have these activations at every token."""
    return in_all_layers(up_weight=np.zeros((N, 32), np.float32), up_bias=pattern.astype(np.float32))


def values(finding: Finding) -> dict[str, float]:
    return {number.key: number.value for number in finding.numbers}


def test_neurons_that_all_fire_alike_are_not_sparse() -> None:
    with tiny_lab(RELU, activations(np.full(N, 2.0))) as lab:
        finding = EXPERIMENT.measure(lab)
    wanted = {
        "exact_zero_share": 0,
        "top_p_sparsity": 1 - math.ceil(0.9 * N) / N,
        "below_share": 0,
        "top_k_energy": round(0.1 * N) / N,
        "hoyer": 0,
        "gini": 0,
        "participation_share": 1,
        "hot_neuron_share": math.ceil(0.8 * N) / N,
        "dead_share": 0,
    }
    found = values(finding)
    for key, value in wanted.items():
        assert found[key] == pytest.approx(value, abs=1e-5), f"{key} of {N} equal neurons"
    assert finding.verdict is Verdict.NOT_SUPPORTED, finding.summary


def test_a_single_active_neuron_is_as_sparse_as_can_be() -> None:
    alone = np.full(N, -1.0)
    alone[5] = 3
    with tiny_lab(RELU, activations(alone)) as lab:
        finding = EXPERIMENT.measure(lab)
    one = 1 / N
    wanted = {
        "exact_zero_share": 1 - one,
        "top_p_sparsity": 1 - one,
        "below_share": 1 - one,
        "top_k_energy": 1,
        "hoyer": 1,
        "gini": 1 - one,
        "participation_share": one,
        "cett_sparsity": 1 - one,
        "hot_neuron_share": one,
        "dead_share": 1 - one,
    }
    found = values(finding)
    for key, value in wanted.items():
        assert found[key] == pytest.approx(value, abs=1e-5), f"{key} of one neuron among {N}"
    assert finding.verdict is Verdict.SUPPORTED, finding.summary


def test_what_is_sparse_without_zeros_is_sparse() -> None:
    few = np.full(N, 0.01)
    few[:6] = 5
    with tiny_lab(RELU, activations(few)) as lab:
        finding = EXPERIMENT.measure(lab)
    assert values(finding)["exact_zero_share"] == 0
    assert finding.verdict is Verdict.SUPPORTED, f"six neurons of {N} do nearly everything: {finding.summary}"


def test_gaussian_baselines_are_what_theory_says() -> None:
    with tiny_lab(RELU) as lab:
        chance = {number.key: number.baseline for number in EXPERIMENT.measure(lab).numbers}
    cut = 1.6449  # of a normal vector, 10% is beyond this
    # The magnitudes above c hold exp(-c²/2) of Σ|a|, so that 90% is held by those above √(-2 ln 0.9).
    wanted = {
        "exact_zero_share": 0,
        "top_p_sparsity": erf(sqrt(-math.log(0.9))),
        "below_share": erf(0.1 / sqrt(2)),
        "top_k_energy": 0.1 + 2 * cut * exp(-(cut**2) / 2) / sqrt(2 * pi),
        "gini": sqrt(2) - 1,
        "participation_share": 1 / 3,
        "hot_neuron_share": 0.8,
        "dead_share": 0,
    }
    for key, value in wanted.items():
        assert chance[key] == pytest.approx(value, abs=0.02), f"{key} of a Gaussian vector"


def test_the_bundled_models_differ_as_their_activations_do() -> None:
    found = {}
    for name in ("fable-relu", "fable-gelu"):
        with zoo_lab(name, tokens=100) as lab:
            found[name] = EXPERIMENT.measure(lab)
            layers = range(lab.spec.n_layers)
            after_first = [np.concatenate([trace.neurons(layer)[1:] for trace in lab.traces]) for layer in layers]
        by_hand = float(np.mean([(neurons == 0).mean() for neurons in after_first]))
        assert values(found[name])["exact_zero_share"] == pytest.approx(by_hand, abs=1e-5), f"{name}"
        rms = [np.sqrt(np.mean(neurons.astype(np.float64) ** 2)) for neurons in after_first]
        below = [(np.abs(neurons) < 0.1 * root).mean() for neurons, root in zip(after_first, rms, strict=True)]
        assert values(found[name])["below_share"] == pytest.approx(np.mean(below), abs=1e-4), f"{name}"
    assert found["fable-relu"].verdict is Verdict.SUPPORTED, found["fable-relu"].summary
    assert found["fable-gelu"].verdict is Verdict.NOT_SUPPORTED, found["fable-gelu"].summary


def test_a_mixture_is_also_judged_by_the_experts_that_a_token_chooses() -> None:
    """Most neurons are inactive, but not most of those in chosen experts."""
    with tiny_lab("experts-in-groups-shared-and-a-dense-layer") as lab:
        finding = EXPERIMENT.measure(lab)
        used = [layer.ffn.d_used / layer.ffn.d_ff for layer in lab.spec.layers]
    of_all, of_chosen = finding.effects
    assert of_chosen.key == "inactive_share_of_chosen" and of_chosen.value < 0.5 < of_all.value
    assert of_all.value == pytest.approx(1 - (1 - of_chosen.value) * np.mean(used), abs=1e-6)
    assert finding.verdict is Verdict.NOT_SUPPORTED, finding.summary
    found = values(finding)
    assert found["not_chosen_share"] == pytest.approx(1 - np.mean(used))
    active = 1 - found["exact_zero_share"]
    assert found["exact_zero_share_of_chosen"] == pytest.approx(1 - active / np.mean(used), abs=1e-6)


def test_a_dense_model_has_one_effect() -> None:
    with tiny_lab(RELU) as lab:
        assert [effect.key for effect in EXPERIMENT.measure(lab).effects] == ["inactive_share"]
