"""Where it is known by construction what carries a fact and which heads copy, the lab finds it."""

import pytest

from edge.lab.effect import Verdict
from edge.lab.experiments import (
    distance,
    key_value_memory,
    recall,
    relations,
    sparsity,
    specialization,
    sublayer_ablation,
)
from tests.edge.lab.contexts import tiny_lab
from tests.edge.lab.planted import FFNS, planted_copying, planted_facts

COPYING = (relations, distance, specialization)
"""What a model that copies shows, and one with uniform attention does not."""


@pytest.mark.parametrize("ffn", FFNS)
def test_a_fact_that_an_ffn_carries_is_found_there(ffn: str) -> None:
    with planted_facts(ffn, "ffn") as lab:
        assert min(known.probability for known in lab.known_facts) > 0.9, "the model does not know what was planted"
        finding = recall.measure(lab)
    assert finding.verdict is Verdict.SUPPORTED, f"{ffn}: {finding.reason}"


@pytest.mark.parametrize("ffn", FFNS)
def test_a_fact_that_attention_carries_is_not_found_in_ffns(ffn: str) -> None:
    with planted_facts(ffn, "attn") as lab:
        assert min(known.probability for known in lab.known_facts) > 0.9, "the model does not know what was planted"
        finding = recall.measure(lab)
    by_key = {effect.key: effect for effect in finding.effects}
    assert finding.verdict is Verdict.NOT_SUPPORTED, f"{ffn}: {finding.reason}"
    assert by_key["lead_over_attention"].high < 0, f"{ffn}: attention does not lead: {finding.reason}"


def test_a_model_that_copies_shows_it() -> None:
    with planted_copying() as lab:
        found = {one.EXPERIMENT.key: one.EXPERIMENT.measure(lab) for one in COPYING}
    for key, finding in found.items():
        assert finding.verdict is Verdict.SUPPORTED, f"{key}: {finding.reason}"


def test_a_model_whose_heads_look_evenly_shows_none_of_it() -> None:
    with planted_copying(is_blind=True) as lab:
        found = {one.EXPERIMENT.key: one.EXPERIMENT.measure(lab) for one in COPYING}
    for key, finding in found.items():
        assert finding.verdict is Verdict.NOT_SUPPORTED, f"{key}: {finding.reason}"


def test_an_ffn_that_writes_nothing_is_not_needed() -> None:
    with planted_copying() as lab:
        lab.known_facts = ()
        finding = sublayer_ablation.EXPERIMENT.measure(lab)
    by_key = {effect.key: effect for effect in finding.effects}
    assert by_key["loss_increase_without_ffns"].value == pytest.approx(0, abs=1e-6)
    assert finding.verdict is Verdict.NOT_SUPPORTED, finding.reason


@pytest.mark.parametrize("ffn", FFNS)
def test_an_ffn_with_one_active_neuron_is_sparse(ffn: str) -> None:
    with planted_facts(ffn, "ffn") as lab:
        finding = sparsity.EXPERIMENT.measure(lab)
    assert finding.verdict is Verdict.SUPPORTED, f"{ffn}: {finding.reason}"


@pytest.mark.parametrize("name", ["llama-shared-heads-tied", "gpt2-learned-positions-tied"])
def test_claims_of_what_is_learned_do_not_hold_of_random_weights(name: str) -> None:
    """SwiGLU with rotary positions, GELU with learned ones: nothing is off, copied, remembered or needed."""
    with tiny_lab(name) as lab:
        lab.known_facts = ()
        for module in (sparsity, key_value_memory, relations, distance, specialization, sublayer_ablation):
            finding = module.EXPERIMENT.measure(lab)
            assert finding.verdict in (Verdict.NOT_SUPPORTED, Verdict.INCONCLUSIVE), (
                f"{module.EXPERIMENT.key}: {finding.reason}"
            )
        assert recall.EXPERIMENT.measure(lab).verdict is Verdict.NOT_APPLICABLE, (
            "nothing is known, and facts were traced"
        )
