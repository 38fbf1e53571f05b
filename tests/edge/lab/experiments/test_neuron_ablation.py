"""F4's agreement of promoted tokens with ablation: its cost, its layers, and a layer without active neurons."""

import numpy as np
import pytest

from edge.lab.experiments import neuron_ablation
from tests.edge.lab.contexts import counting, tiny_lab
from tests.tiny import TINY_SPECS

RELU = "neox-full-rotary-relu"
SPEC = TINY_SPECS[RELU]


def test_what_it_feeds_is_known_before(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []
    with tiny_lab(RELU) as lab:
        expected, _ = neuron_ablation.cost_tokens(lab), lab.traces
        monkeypatch.setattr(lab, "run", counting(lab.run, fed))
        neuron_ablation.ablate_neurons(lab)
    assert expected == sum(fed), f"{expected} tokens predicted, {sum(fed)} fed"


def test_the_last_layer_is_read_best_and_other_neurons_do_not_agree() -> None:
    with tiny_lab("llama-shared-heads-tied") as lab:
        found = neuron_ablation.ablate_neurons(lab)
    assert found.layers == (0, 1, 2)
    assert found.r[-1] == max(found.r) and found.r[-1] > 0.9, f"r by layer: {found.r}"
    assert abs(found.others_r[-1]) < 0.6, f"the effect of another neuron correlates at {found.others_r[-1]:.2f}"
    assert found.late_overlap == found.overlap[-1], "the last quarter of three layers is the last one"


def test_a_layer_without_active_neurons_has_no_number_and_the_others_have() -> None:
    off = {"layers.1.ffn.up.bias": np.full(SPEC.layers[1].ffn.d_ff, -50, np.float32)}
    with tiny_lab(RELU, off) as lab:
        found = neuron_ablation.ablate_neurons(lab)
    assert np.isnan(found.r[1]) and np.isnan(found.overlap[1]), f"{found}"
    assert np.isfinite(found.r[0]) and np.isfinite(found.r[2])
