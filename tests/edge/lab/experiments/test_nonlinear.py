"""F1: what is linear counts as linear, on every kind of decoder, and what is not does not."""

from math import erf, sqrt

import numpy as np
import pytest

from edge.lab.context import LabContext
from edge.lab.effect import Verdict
from edge.lab.experiments.ffn_activations import after_first, ffn_input, site_after_first, up_projection
from edge.lab.experiments.nonlinear import EXPERIMENT, frozen_attention, unlimited
from edge.measure.linearity import linear_fit_r2
from edge.readout import open_output_projection
from models.sites import layer_site
from models.spec import Activation, Clamped, Gated, MoE
from tests.edge.lab.contexts import tiny_lab, zoo_lab
from tests.tiny import TINY_SPECS

ALWAYS_ON = {f"layers.{layer}.ffn.up.bias": np.full(128, 50, np.float32) for layer in range(3)}
"""ReLU passes everything on: the FFNs of this tiny decoder are linear."""


def act(activation: Activation, x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float64)
    match activation:
        case Activation.RELU:
            return np.asarray(np.maximum(wide, 0))
        case Activation.RELU2:
            return np.asarray(np.maximum(wide, 0) ** 2)
        case Activation.GELU:
            return np.asarray(wide / 2 * (1 + np.vectorize(erf)(wide / sqrt(2))))
        case Activation.GELU_TANH:
            return np.asarray(wide / 2 * (1 + np.tanh(sqrt(2 / np.pi) * (wide + 0.044715 * wide**3))))
        case Activation.SILU:
            return np.asarray(wide / (1 + np.exp(-wide)))


def of_chosen(lab: LabContext, layer: int, ffn: MoE, up: np.ndarray) -> np.ndarray:
    """The neurons of the experts that each token chose, from the up projections of all experts."""
    weights, stack = lab.model.checkpoint.weights, layer_site(layer, "ffn.experts.gate_up")
    gates = weights[f"{stack}.weight"][:, 0::2].reshape(up.shape[1], -1)
    biases = weights[f"{stack}.bias"][:, 0::2].ravel() if f"{stack}.bias" in weights else np.float32(0)
    gate = ffn_input(lab, layer) @ gates.T + biases
    if isinstance(ffn.expert, Clamped):
        gate, up = np.minimum(gate, ffn.expert.limit), np.clip(up, -ffn.expert.limit, ffn.expert.limit)
        neurons = (up + 1) * gate / (1 + np.exp(-ffn.expert.steepness * gate))
    else:
        neurons = act(ffn.expert.activation, gate) * up
    chosen = site_after_first(lab, layer, "ffn.chosen").astype(int)
    return np.take_along_axis(neurons.reshape(len(up), ffn.n_experts, -1), chosen[:, :, None], axis=1)


def neurons_of(lab: LabContext, layer: int) -> np.ndarray:
    """What enters the down projection, computed from what is said to be the FFN's input."""
    ffn, weights = lab.spec.layers[layer].ffn, lab.model.checkpoint.weights
    up = up_projection(lab, layer)
    if isinstance(ffn, MoE):
        return of_chosen(lab, layer, ffn, up[:, : ffn.d_routed])
    if not isinstance(ffn, Gated):
        return act(ffn.activation, up)
    name = layer_site(layer, "ffn.gate")
    gate = ffn_input(lab, layer) @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", np.float32(0))
    return np.asarray(act(ffn.activation, gate) * up)


@pytest.mark.parametrize("name", TINY_SPECS)
def test_what_an_ffn_reads_explains_its_neurons(name: str) -> None:
    with tiny_lab(name) as lab:
        for layer in range(lab.spec.n_layers):
            seen = site_after_first(lab, layer, "ffn.neurons")
            off = float(np.abs(neurons_of(lab, layer) - seen).max() / np.abs(seen).max())
            assert off < 1e-5, f"{name}, layer {layer}: neurons are off by {off:.2g}: that is not what the FFN reads"


@pytest.mark.parametrize("name", TINY_SPECS)
def test_attention_with_its_pattern_held_writes_what_it_wrote(name: str) -> None:
    with tiny_lab(name) as lab:
        trace = lab.traces[0]
        for layer in range(lab.spec.n_layers):
            reported = frozen_attention(trace, layer, open_output_projection(lab.model.checkpoint, layer, "attn"))
            seen = trace.site(layer_site(layer, "attn.output"))
            off = float(np.abs(reported - seen).max() / np.abs(seen).max())
            assert off < 1e-4, f"{name}, layer {layer}: attention is off by {off:.2g}"


def test_an_ffn_that_is_linear_is_found_linear() -> None:
    with tiny_lab("neox-full-rotary-relu", ALWAYS_ON) as lab:
        finding = EXPERIMENT.measure(lab)
    value = {number.key: number.value for number in finding.numbers}
    assert value["ffn_linear_r2"] == pytest.approx(1, abs=1e-4), "all neurons are on, so the FFN is a linear map"
    assert finding.verdict is Verdict.NOT_SUPPORTED, finding.summary


def test_a_relu_ffn_is_not_linear_and_attention_is() -> None:
    with zoo_lab() as lab:
        finding = EXPERIMENT.measure(lab)
        read, wrote = ffn_input(lab, 2), site_after_first(lab, 2, "ffn.output")
    value = {number.key: number.value for number in finding.numbers}
    fitted = int(0.875 * len(read))
    with_one = np.concatenate([read, np.ones((len(read), 1), np.float32)], axis=1).astype(np.float64)
    map, *_ = np.linalg.lstsq(with_one[:fitted], wrote[:fitted], rcond=1e-6)  # a LayerNorm's features are dependent
    left = ((with_one[fitted:] @ map - wrote[fitted:]) ** 2).sum()
    by_hand = 1 - left / ((wrote[fitted:] - wrote[fitted:].mean(axis=0)) ** 2).sum()
    assert finding.curves[0].series[0].values[2] == pytest.approx(by_hand, abs=1e-3), "R² is not that of least squares"
    assert value["attention_frozen_r2"] == pytest.approx(1, abs=1e-5)
    assert value["up_linear_r2"] == pytest.approx(1, abs=1e-5)
    assert value["ffn_linear_r2"] < value["ffn_linear_r2_unlimited"] < 0.9
    assert finding.verdict is Verdict.SUPPORTED, finding.summary


def test_rows_without_end_take_off_what_few_rows_cost() -> None:
    random = np.random.default_rng(5)
    few, many = [], []
    for _ in range(30):
        x = random.standard_normal((400, 60)).astype(np.float32)
        signal = x @ random.standard_normal((60, 5)) / sqrt(60)
        y = (signal + random.standard_normal(signal.shape) * sqrt(0.5)).astype(np.float32)
        few.append(linear_fit_r2(x, y, 0.75))
        many.append(unlimited(few[-1], 300, 60))
    assert np.mean(few) < 0.62, "least squares on 300 rows of 60 features must lose something"
    assert np.mean(many) == pytest.approx(2 / 3, abs=0.015), "a third of the variance is noise, two thirds are linear"


def test_too_few_tokens_are_refused_and_as_many_as_advised_are_enough() -> None:
    with tiny_lab("neox-full-rotary-relu", tokens=60) as lab:
        finding = EXPERIMENT.measure(lab)
    assert finding.verdict is Verdict.NOT_APPLICABLE, "59 rows cannot tell a map of 32 features"
    advised = int(finding.summary.split("--tokens ")[1].split()[0])
    with tiny_lab("neox-full-rotary-relu", tokens=advised) as lab:
        assert EXPERIMENT.measure(lab).verdict is not Verdict.NOT_APPLICABLE, f"{advised} tokens were said to be enough"


def test_the_first_token_of_each_pass_is_left_out() -> None:
    with tiny_lab("neox-full-rotary-relu", tokens=130) as lab:
        starts = np.cumsum([0, *(len(ids) for ids in lab.window_ids)])[:-1]
        assert len(starts) > 1 and set(np.flatnonzero(~after_first(lab))) == set(starts)
