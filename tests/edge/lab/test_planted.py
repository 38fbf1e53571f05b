"""Where it is known by construction what carries a fact and which heads copy, the lab finds it."""

import pytest

from edge.lab.effect import Verdict
from edge.lab.experiments import copying, distance, heads, knockout, memories, recall, sparsity
from tests.edge.lab.planted import FFNS, planted_copying, planted_facts
from tests.edge.lab.subjects import tiny_subject

COPYING = (heads, distance, copying)
"""What a model that copies shows, and one with uniform attention does not."""


@pytest.mark.parametrize("ffn", FFNS)
def test_a_fact_that_an_ffn_carries_is_found_there(ffn: str) -> None:
    with planted_facts(ffn, "ffn") as subject:
        assert min(known.probability for known in subject.known) > 0.9, "the model does not know what was planted"
        finding = recall.measure(subject)
    assert finding.verdict is Verdict.HOLDS, f"{ffn}: {finding.reason}"


@pytest.mark.parametrize("ffn", FFNS)
def test_a_fact_that_attention_carries_is_not_found_in_ffns(ffn: str) -> None:
    with planted_facts(ffn, "attn") as subject:
        assert min(known.probability for known in subject.known) > 0.9, "the model does not know what was planted"
        finding = recall.measure(subject)
    by_key = {effect.key: effect for effect in finding.effects}
    assert finding.verdict is Verdict.FAILS, f"{ffn}: {finding.reason}"
    assert by_key["lead_over_attention"].high < 0, f"{ffn}: attention does not lead: {finding.reason}"


def test_a_model_that_copies_shows_it() -> None:
    with planted_copying() as subject:
        found = {one.EXPERIMENT.key: one.EXPERIMENT.measure(subject) for one in COPYING}
    for key, finding in found.items():
        assert finding.verdict is Verdict.HOLDS, f"{key}: {finding.reason}"


def test_a_model_whose_heads_look_evenly_shows_none_of_it() -> None:
    with planted_copying(is_blind=True) as subject:
        found = {one.EXPERIMENT.key: one.EXPERIMENT.measure(subject) for one in COPYING}
    for key, finding in found.items():
        assert finding.verdict is Verdict.FAILS, f"{key}: {finding.reason}"


def test_an_ffn_that_writes_nothing_is_not_needed() -> None:
    with planted_copying() as subject:
        subject.known = ()
        finding = knockout.EXPERIMENT.measure(subject)
    by_key = {effect.key: effect for effect in finding.effects}
    assert by_key["cost_without_ffns"].value == pytest.approx(0, abs=1e-6)
    assert finding.verdict is Verdict.FAILS, finding.reason


@pytest.mark.parametrize("ffn", FFNS)
def test_an_ffn_with_one_active_neuron_is_sparse(ffn: str) -> None:
    with planted_facts(ffn, "ffn") as subject:
        finding = sparsity.EXPERIMENT.measure(subject)
    assert finding.verdict is Verdict.HOLDS, f"{ffn}: {finding.reason}"


@pytest.mark.parametrize("name", ["llama-shared-heads-tied", "gpt2-learned-positions-tied"])
def test_claims_of_what_is_learned_do_not_hold_of_random_weights(name: str) -> None:
    """SwiGLU with rotary positions, GELU with learned ones: nothing is off, copied, remembered or needed."""
    with tiny_subject(name) as subject:
        subject.known = ()
        for module in (sparsity, memories, heads, distance, copying, knockout):
            finding = module.EXPERIMENT.measure(subject)
            assert finding.verdict in (Verdict.FAILS, Verdict.OPEN), f"{module.EXPERIMENT.key}: {finding.reason}"
        assert recall.EXPERIMENT.measure(subject).verdict is Verdict.UNKNOWN, "nothing is known, and facts were traced"
