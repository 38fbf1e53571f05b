"""F4: neurons with values set by hand are read as they were set."""

from collections.abc import Iterator
from itertools import permutations

import numpy as np
import pytest

from edge.lab.claim import Number
from edge.lab.context import LabContext
from edge.lab.effect import Verdict
from edge.lab.experiments.key_value_memory import EXPERIMENT
from edge.lab.experiments.layer_neurons import DOMINANT_NEURONS, chance_agreement, layer_neurons, top_triggers
from tests.edge.lab.contexts import tiny_lab, zoo_lab
from tests.tiny import TINY_SPECS, tiny_weights

RELU = "neox-full-rotary-relu"
SPEC = TINY_SPECS[RELU]
LAST = SPEC.n_layers - 1
D_FF = SPEC.layers[LAST].ffn.d_ff
DOWN = f"layers.{LAST}.ffn.down"


def legible() -> dict[str, np.ndarray]:
    """Token vectors of length 1 and mean 0 behind a plain final norm: adding it raises that token's logit most."""
    table = tiny_weights(SPEC, 0)["embed.weight"].astype(np.float64)
    table -= table.mean(axis=1, keepdims=True)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    return {"embed.weight": table.astype(np.float32), "head.norm.weight": np.ones(SPEC.d_model, np.float32)}


def writing(tokens: np.ndarray, bias: int | None = None) -> dict[str, np.ndarray]:
    """The last layer's neurons promote these tokens; its bias, far larger, another one."""
    table = legible()["embed.weight"]
    zero = np.zeros(SPEC.d_model, np.float32)
    return legible() | {f"{DOWN}.weight": table[tokens].T, f"{DOWN}.bias": zero if bias is None else 1000 * table[bias]}


@pytest.fixture(scope="module")
def following() -> np.ndarray:
    """The token after the top trigger of each neuron of the last layer, by hand; -1 where none is active."""
    with tiny_lab(RELU, legible()) as lab:
        return by_hand(lab, LAST)


def by_hand(lab: LabContext, layer: int) -> np.ndarray:
    rows = lab.site(layer, "ffn.neurons").copy()
    begun = 0
    for ids in lab.window_ids:
        rows[begun] = 0
        begun += len(ids)
    place = rows.argmax(axis=0)
    return np.where(rows.max(axis=0) > 0, np.array(lab.passage)[place + 1], -1)


def test_triggers_are_where_the_coefficient_is_largest() -> None:
    with tiny_lab(RELU) as lab:
        assert len(lab.window_ids) > 1, "the test needs a passage of several passes"
        for layer in range(SPEC.n_layers):
            assert np.array_equal(top_triggers(lab, layer).next_token, by_hand(lab, layer)), f"layer {layer}"


def test_neurons_that_promote_what_followed_all_agree(following: np.ndarray) -> None:
    with tiny_lab(RELU, writing(np.maximum(following, 0))) as lab:
        found, finding = layer_neurons(lab, LAST), EXPERIMENT.measure(lab)
    assert found.agreement == 1, "each memory promotes what followed its top trigger"
    assert found.agreement_by_chance < 0.2
    assert found.examples and all(example.promoted_ids[0] == following[example.neuron] for example in found.examples)
    assert finding.verdict is Verdict.SUPPORTED, finding.summary


def test_neurons_that_promote_another_token_never_agree(following: np.ndarray) -> None:
    with tiny_lab(RELU, writing((np.maximum(following, 0) + 1) % SPEC.vocab_size)) as lab:
        assert layer_neurons(lab, LAST).agreement == 0


def test_outputs_of_neurons_that_promote_the_same_are_not_a_composition() -> None:
    with tiny_lab(RELU, writing(np.full(D_FF, 7))) as lab:
        assert layer_neurons(lab, LAST).composition == 0, "every active memory promotes token 7, and so does the sum"


def test_an_output_that_no_memory_says_is_composition_at_every_token() -> None:
    with tiny_lab(RELU, writing(np.full(D_FF, 7), bias=9)) as lab:
        assert layer_neurons(lab, LAST).composition == 1, "the bias promotes token 9, all memories token 7"


def test_neurons_with_equal_values_have_equal_parts() -> None:
    even: dict[str, np.ndarray] = {f"layers.{LAST}.ffn.up.weight": np.zeros((D_FF, SPEC.d_model), np.float32)}
    even |= {f"layers.{LAST}.ffn.up.bias": np.ones(D_FF, np.float32)}
    with tiny_lab(RELU, writing(np.arange(D_FF) % SPEC.vocab_size) | even) as lab:
        share = layer_neurons(lab, LAST).dominant
        wanted = DOMINANT_NEURONS / D_FF
    assert share == pytest.approx(wanted, rel=1e-4), f"{DOMINANT_NEURONS} of {D_FF} equal memories make {wanted:.2%}"


def test_a_model_whose_neurons_are_never_active_cannot_be_tested() -> None:
    off = {f"layers.{layer}.ffn.up.bias": np.full(D_FF, -50, np.float32) for layer in range(SPEC.n_layers)}
    with tiny_lab(RELU, off) as lab:
        assert EXPERIMENT.measure(lab).verdict is Verdict.NOT_APPLICABLE


def test_chance_is_the_mean_over_all_ways_to_deal_tokens_out() -> None:
    top, following = np.array([3, 3, 5, 1, 0]), np.array([3, 5, 5, 9, -1])
    known = following >= 0
    dealt = [np.mean(top[known] == np.array(order)) for order in permutations(following[known])]
    assert chance_agreement(top, following) == pytest.approx(np.mean(dealt))


@pytest.fixture(scope="module", params=["fable-relu", "fable-gelu"])
def numbers(request: pytest.FixtureRequest) -> Iterator[dict[str, Number]]:
    with zoo_lab(request.param, tokens=300) as lab:
        yield {number.key: number for number in EXPERIMENT.measure(lab).numbers}


def test_trained_neurons_agree_above_chance(numbers: dict[str, Number]) -> None:
    upper, composed = numbers["agreement_rate_upper"], numbers["composition_rate"]
    assert upper.baseline is not None and upper.value > 2 * upper.baseline, f"{upper}"
    assert composed.baseline is not None and composed.value < composed.baseline, f"outputs of other tokens: {composed}"


def test_trained_neurons_of_the_last_layers_promote_what_falls_without_them(numbers: dict[str, Number]) -> None:
    r, overlap = numbers["ablation_r_last"], numbers["ablation_overlap_late"]
    assert r.baseline is not None and r.value > r.baseline + 0.5, f"{r}"
    assert overlap.value >= 0.6, f"{overlap}"
