"""A4 finds that attention brings context, and that nothing else does."""

import numpy as np
import pytest

from edge.lab.effect import Verdict
from edge.lab.experiments.context import aligned, measure, neuron_distance
from tests.edge.lab.contexts import tiny_lab, zoo_lab
from tests.tiny import TINY_SPECS, tiny_weights

NAME = "llama-shared-heads-tied"


def without(part: str) -> dict[str, np.ndarray]:
    """Weights of one part, all 0."""
    return {key: 0 * value for key, value in tiny_weights(TINY_SPECS[NAME], 0).items() if part in key}


def test_the_word_ends_at_the_same_position_of_every_sentence() -> None:
    with zoo_lab(tokens=50) as lab:
        pairs = aligned(lab)
        pieces = [
            ["".join(lab.tokenizer.piece(id) for id in sentence.word).strip() for sentence in pair] for pair in pairs
        ]
        assert len({len(sentence.ids) for pair in pairs for sentence in pair}) == 1
        for (first, second), words in zip(pairs, pieces, strict=True):
            assert first.word == second.word == first.ids[-len(first.word) :] == second.ids[-len(first.word) :]
            assert words[0] == words[1]
            assert first.ids != second.ids, "both sentences are the same"
        assert {"bank", "spring", "match"} <= {words[0] for words in pieces}


def test_neuron_distance_by_hand() -> None:
    one, two = np.array([3.0, 4, 0]), np.array([0.0, 0, 2])
    assert neuron_distance(one, 5 * one) == pytest.approx(0.0, abs=1e-12)
    assert neuron_distance(one, two) == pytest.approx(1.0)
    assert neuron_distance(one, np.array([4.0, 3, 0])) == pytest.approx(1 - 24 / 25)
    assert neuron_distance(0 * one, 0 * two) == 0.0, "two silent FFNs are apart"
    assert neuron_distance(0 * one, two) == 1.0, "a silent FFN is like one that fires"


KINDS = ("gpt2-learned-positions-tied", "neox-partial-rotary-parallel", "layers-that-differ", "norms-around-caps")


@pytest.mark.parametrize("name", (*KINDS, "normed-sums-projected-embedding-tied"))
def test_without_attention_no_ffn_sees_context(name: str) -> None:
    with tiny_lab(name) as lab:
        found = {number.key: number.value for number in measure(lab).numbers}
    assert found["ffn_context_distance_without_attention"] < 1e-6, f"{name}: context came by another way"
    assert found["ffn_context_distance"] > 0.01, f"{name}: attention writes nothing, so nothing was tested"


def test_attention_that_writes_nothing_brings_no_context() -> None:
    with tiny_lab(NAME, without(".attn.out.")) as lab:
        found = {number.key: number.value for number in measure(lab).numbers}
    assert found["ffn_context_distance"] == pytest.approx(0.0, abs=1e-6)
    assert found["attention_context_bits"] > 0.05, "the first look needs no earlier one"


def test_attention_that_looks_evenly_does_not_depend_on_context() -> None:
    with tiny_lab(NAME, without(".attn.query.")) as lab:
        finding = measure(lab)
    found = {number.key: number.value for number in finding.numbers}
    assert found["attention_context_bits"] == 0.0
    assert finding.verdict is Verdict.NOT_SUPPORTED, "a look that never moves passed for one that depends on context"
