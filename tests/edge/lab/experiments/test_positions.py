"""F2: FFNs never look aside, whatever the decoder; and the experiment would notice if they did."""

from collections.abc import Sequence

import numpy as np
import pytest

from edge.edits import Ablate, Edit, Replace
from edge.lab.effect import Verdict
from edge.lab.experiments.positions import EXPERIMENT, isolated, moved
from edge.lab.subject import Subject
from edge.trace import Trace
from edge.watch import Watch
from models.spec import Full
from tests.edge.lab.subjects import tiny_subject, zoo_subject
from tests.tiny import TINY_SPECS


@pytest.mark.parametrize("name", TINY_SPECS)
def test_an_ffn_works_on_each_position_alone_and_attention_does_not(name: str) -> None:
    with tiny_subject(name) as subject:
        for layer, found in enumerate(moved(isolated(subject, subject.windows[0][:24]), 0)):
            assert found.ffn_elsewhere < 1e-5, f"{name}, layer {layer}: the FFN moved elsewhere: {found}"
            assert found.ffn_permuted < 1e-5, f"{name}, layer {layer}: permuted rows, other outputs: {found}"
            assert found.ffn_there > 0.01, f"{name}, layer {layer}: the change did not reach the FFN: {found}"
            assert found.attention_elsewhere > 1e-4 < found.attention_permuted, f"{name}, layer {layer}: {found}"


class Deaf(Subject):
    """Ablates nothing: how an FFN that reads other tokens would appear."""

    def see(self, ids: Sequence[int], edits: Sequence[Edit] = (), watch: Watch | None = None) -> Trace:
        return super().see(ids, [edit for edit in edits if not isinstance(edit, Ablate)], watch)


def test_a_change_that_reaches_other_tokens_is_noticed() -> None:
    with tiny_subject("neox-full-rotary-relu", kind=Deaf) as subject:
        finding = EXPERIMENT.measure(subject)
    errors = {number.key: number.value for number in finding.numbers}
    assert errors["ffn_change_elsewhere"] > 0.01 < errors["permutation_error"], f"{errors}"
    assert finding.verdict is Verdict.FAILS, f"attention was not ablated, so FFNs do read other tokens: {finding.says}"


def test_attention_without_values_changes_nothing_elsewhere() -> None:
    blind = {f"layers.{layer}.attn.value.weight": np.zeros((32, 32), np.float32) for layer in range(3)}
    with tiny_subject("neox-full-rotary-relu", blind) as subject:
        value = {number.key: number.value for number in EXPERIMENT.measure(subject).numbers}
    assert value["attention_change_elsewhere"] < 1e-6, "attention that reads nothing cannot carry a change"
    assert value["ffn_change_there"] > 0.01


def test_tokens_out_of_reach_are_not_counted() -> None:
    """Layer 0 sees 3 tokens: one change reaches two later ones and those alone are averaged."""
    with tiny_subject("layers-that-differ") as subject:
        assert not isinstance(subject.spec.layers[0].window, Full)
        short, long = (moved(isolated(subject, subject.windows[0][:tokens]), 0)[0] for tokens in (16, 19))
    assert short.attention_elsewhere == pytest.approx(long.attention_elsewhere, rel=1e-4), (
        "three more tokens at the end are out of reach, and still they count"
    )


@pytest.mark.parametrize("name", ["norms-around-caps", "neox-partial-rotary-parallel", "layers-that-differ"])
def test_a_layer_among_others_answers_as_one_that_is_tried_alone(name: str) -> None:
    """One pass gives every layer its own input: each must answer as where it alone is changed."""
    with tiny_subject(name) as subject:
        ids, layer = subject.windows[0][:20], 1
        alone = isolated(subject, ids)
        site = f"layers.{layer}"
        rows = alone.clean.site(f"{site}.input")
        by_itself = subject.see(ids, [Ablate(f"{site}.attn"), Replace(f"{site}.input", tuple(range(20)), rows)])
        np.testing.assert_allclose(
            alone.ffn.site(f"{site}.ffn.output"), by_itself.site(f"{site}.ffn.output"), rtol=1e-4, atol=1e-5
        )


def test_its_cost_is_what_it_feeds() -> None:
    with tiny_subject("norms-around-caps") as subject:
        EXPERIMENT.measure(subject)
        assert EXPERIMENT.cost_tokens(subject) == subject.fed


def test_it_holds_on_a_trained_model() -> None:
    with zoo_subject(tokens=100) as subject:
        finding = EXPERIMENT.measure(subject)
    value = {number.key: number.value for number in finding.numbers}
    assert finding.verdict is Verdict.HOLDS, finding.says
    assert value["ffn_change_elsewhere"] < 1e-5 < 1e-3 < value["attention_change_elsewhere"] < value["ffn_change_there"]
