"""F2: FFNs never look aside, whatever the decoder; and the experiment would notice if they did."""

from collections.abc import Sequence

import numpy as np
import pytest

from edge.change import Edit
from edge.edits import Ablate, Replace
from edge.lab.context import LabContext
from edge.lab.effect import Verdict
from edge.lab.experiments.position_wise import EXPERIMENT, isolated, moved
from edge.trace import Trace
from edge.watch import Watch
from models.spec import Full
from tests.edge.lab.contexts import tiny_lab, zoo_lab
from tests.tiny import TINY_SPECS


@pytest.mark.parametrize("name", TINY_SPECS)
def test_an_ffn_works_on_each_position_alone_and_attention_does_not(name: str) -> None:
    with tiny_lab(name) as lab:
        for layer, found in enumerate(moved(isolated(lab, lab.window_ids[0][:24]), 0)):
            assert found.ffn_elsewhere < 1e-5, f"{name}, layer {layer}: the FFN moved elsewhere: {found}"
            assert found.ffn_permuted < 1e-5, f"{name}, layer {layer}: permuted rows, other outputs: {found}"
            assert found.ffn_there > 0.01, f"{name}, layer {layer}: the change did not reach the FFN: {found}"
            assert found.attention_elsewhere > 1e-4 < found.attention_permuted, f"{name}, layer {layer}: {found}"


class Deaf(LabContext):
    """Ablates nothing: how an FFN that reads other tokens would appear."""

    def run(self, ids: Sequence[int], edits: Sequence[Edit] = (), watch: Watch | None = None) -> Trace:
        return super().run(ids, [edit for edit in edits if not isinstance(edit, Ablate)], watch)


def test_a_change_that_reaches_other_tokens_is_noticed() -> None:
    with tiny_lab("neox-full-rotary-relu", kind=Deaf) as lab:
        finding = EXPERIMENT.measure(lab)
    errors = {number.key: number.value for number in finding.numbers}
    assert errors["ffn_change_elsewhere"] > 0.01 < errors["permutation_error"], f"{errors}"
    assert finding.verdict is Verdict.NOT_SUPPORTED, (
        f"attention was not ablated, so FFNs do read other tokens: {finding.summary}"
    )


def test_attention_without_values_changes_nothing_elsewhere() -> None:
    blind = {f"layers.{layer}.attn.value.weight": np.zeros((32, 32), np.float32) for layer in range(3)}
    with tiny_lab("neox-full-rotary-relu", blind) as lab:
        value = {number.key: number.value for number in EXPERIMENT.measure(lab).numbers}
    assert value["attention_change_elsewhere"] < 1e-6, "attention that reads nothing cannot carry a change"
    assert value["ffn_change_there"] > 0.01


def test_tokens_out_of_reach_are_not_counted() -> None:
    """Layer 0 sees 3 tokens: one change reaches two later ones and those alone are averaged."""
    with tiny_lab("layers-that-differ") as lab:
        assert not isinstance(lab.spec.layers[0].attention.window, Full)
        short, long = (moved(isolated(lab, lab.window_ids[0][:tokens]), 0)[0] for tokens in (16, 19))
    assert short.attention_elsewhere == pytest.approx(long.attention_elsewhere, rel=1e-4), (
        "three more tokens at the end are out of reach, and still they count"
    )


@pytest.mark.parametrize("name", ["norms-around-caps", "neox-partial-rotary-parallel", "layers-that-differ"])
def test_a_layer_among_others_answers_as_one_that_is_tried_alone(name: str) -> None:
    """One pass gives every layer its own input: each must answer as where it alone is changed."""
    with tiny_lab(name) as lab:
        ids, layer = lab.window_ids[0][:20], 1
        alone = isolated(lab, ids)
        site = f"layers.{layer}"
        rows = alone.clean.site(f"{site}.input")
        by_itself = lab.run(ids, [Ablate(f"{site}.attn"), Replace(f"{site}.input", tuple(range(20)), rows)])
        np.testing.assert_allclose(
            alone.ffn.site(f"{site}.ffn.output"), by_itself.site(f"{site}.ffn.output"), rtol=1e-4, atol=1e-5
        )


def test_its_cost_is_what_it_feeds() -> None:
    with tiny_lab("norms-around-caps") as lab:
        EXPERIMENT.measure(lab)
        assert EXPERIMENT.cost_tokens(lab) == lab.tokens_fed


def test_it_holds_on_a_trained_model() -> None:
    with zoo_lab(tokens=100) as lab:
        finding = EXPERIMENT.measure(lab)
    value = {number.key: number.value for number in finding.numbers}
    assert finding.verdict is Verdict.SUPPORTED, finding.summary
    assert value["ffn_change_elsewhere"] < 1e-5 < 1e-3 < value["attention_change_elsewhere"] < value["ffn_change_there"]
