"""S2: what is left without sublayers is what a smaller decoder would give, and the same on every engine."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from edge.change import Edit
from edge.compare.estimate import token_losses_nats
from edge.lab.context import KnownFact, LabContext
from edge.lab.effect import Verdict
from edge.lab.experiments import sublayer_ablation
from edge.lab.experiments.sublayer_ablation import (
    Ablations,
    Sample,
    copied,
    loss_nats,
    loss_table,
    measure,
    recalled,
    small_sample,
    table,
    whole_sample,
)
from edge.lab.passes import Prompt
from edge.lab.prompts import Question
from models.sites import layer_site
from tests.edge.lab.contexts import tiny_lab, zoo_lab
from tests.tiny import TINY_SPECS, tiny_weights

NAME = "neox-full-rotary-relu"
SUMS_STAY = [name for name, spec in TINY_SPECS.items() if not any(layer.norms_sum for layer in spec.layers)]


@pytest.mark.parametrize("name", SUMS_STAY)
def test_without_any_sublayer_the_embedding_is_read_by_the_head(name: str) -> None:
    with tiny_lab(name, tokens=60) as lab:
        costs = []
        for window in whole_sample(lab).windows:
            embedded = lab.run(window.ids).site(layer_site(0, "input"))
            costs.append(token_losses_nats(lab.readout.logits(embedded), np.array(window.targets)))
        found = loss_table(lab)
    np.testing.assert_allclose(found.without_both, np.concatenate(costs), atol=1e-3)


@pytest.mark.parametrize(("place", "last"), [(0, ".ffn.down."), (1, ".attn.out.")])
def test_ablating_what_adds_nothing_changes_no_loss(place: int, last: str) -> None:
    changed = {key: 0 * value for key, value in tiny_weights(TINY_SPECS[NAME], 0).items() if last in key}
    with tiny_lab(NAME, changed, tokens=60) as lab:
        found = loss_table(lab)
    np.testing.assert_allclose(found.without[place], found.intact, atol=1e-5)
    assert np.abs(found.by_layer[:, place] - found.few).max() < 1e-5
    np.testing.assert_allclose(found.without[1 - place], found.without_both, atol=1e-5)
    assert np.abs(found.by_layer[:, 1 - place] - found.few).max() > 1e-3, "nothing was ablated at all"


def test_a_ablated_sublayer_is_one_whose_last_matrix_is_zero() -> None:
    zeroed = {
        key: 0 * value
        for key, value in tiny_weights(TINY_SPECS[NAME], 0).items()
        if key.startswith("layers.1.ffn.down.")
    }
    with tiny_lab(NAME, tokens=60) as whole, tiny_lab(NAME, zeroed, tokens=60) as without:
        alone = loss_nats(without, small_sample(without), ()).mean()
        assert loss_table(whole).by_layer[1, 0] == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("engine", ["onnx", "mlx"])
def test_engines_lose_the_same(engine: str) -> None:
    with zoo_lab(tokens=80, engine="torch") as one, zoo_lab(tokens=80, engine=engine) as other:
        first, second = loss_table(one), loss_table(other)
    for field in ("intact", "by_layer", "without", "without_both"):
        np.testing.assert_allclose(getattr(second, field), getattr(first, field), atol=1e-3, err_msg=field)


class Foreteller:
    """TokenIds by a rule: the token that followed the last time, or always the same."""

    def __init__(self, vocab: int, *, copies: bool) -> None:
        self.vocab, self.copies = vocab, copies

    def read_logits(self, prompts: Iterable[Prompt], read: Callable[[np.ndarray], Any]) -> list[Any]:
        return [read(self.logits(ask.ids, ask.edits)[-ask.rows :]) for ask in prompts]

    def logits(self, ids: Sequence[int], edits: Sequence[Edit] = ()) -> np.ndarray:
        logits = np.zeros((len(ids), self.vocab), np.float32)
        for place, id in enumerate(ids):
            before = [earlier for earlier in range(place) if ids[earlier] == id]
            logits[place, ids[before[-1] + 1] if before and self.copies and not edits else 0] = 1
        return logits


def ruled(lab: LabContext, *, copies: bool) -> LabContext:
    lab.read_logits = Foreteller(lab.spec.vocab_size, copies=copies).read_logits  # type: ignore[method-assign]
    return lab


@pytest.mark.parametrize("name", [NAME, "layers-that-differ"])
def test_a_model_that_copies_predicts_every_repeat_and_another_none(name: str) -> None:
    with tiny_lab(name) as lab:
        lab.known_facts = ()
        sample = whole_sample(lab)
        assert copied(ruled(lab, copies=True), sample, ()).mean() == 1.0, "a copy was not believed"
        assert copied(ruled(lab, copies=False), sample, ()).mean() == 0.0
        edits = sublayer_ablation.ablated([0], ["attn"])
        assert copied(ruled(lab, copies=True), sample, edits).mean() == 0.0, "edits were lost"


def test_facts_count_by_their_top_answer() -> None:
    with tiny_lab(NAME) as lab:
        question = Question("capital", "", "", "")
        right, wrong = (KnownFact(question, tuple(range(9)), (2,), answer, 0.5) for answer in (0, 1))
        sample = Sample((), (), (right, right, wrong, right))
        assert recalled(ruled(lab, copies=False), sample, ()).tolist() == [1, 1, 0, 1]
        assert not len(recalled(lab, Sample((), (), ()), ())), "of no facts some were recalled"


def test_a_table_asks_for_every_sublayer_once() -> None:
    asked: list[tuple[str, ...]] = []

    def count(_: LabContext, sample: Sample, edits: Sequence[Edit]) -> np.ndarray:
        asked.append(tuple(edit.site.removesuffix(".output") for edit in edits))
        return np.array([float(len(edits))])

    with tiny_lab(NAME) as lab:
        lab.known_facts = ()
        found = table(lab, count)
    assert found.whole == found.few == 0 and found.without_both == 6
    assert found.by_layer.tolist() == [[1, 1]] * 3 and found.left == [3, 3]
    assert len(asked) == 2 * 3 + 5 and len(set(asked)) == 2 * 3 + 4, "only the whole model is asked twice"
    assert ("layers.2.attn",) in asked and ("layers.0.ffn", "layers.1.ffn", "layers.2.ffn") in asked


def test_the_mean_over_layers_is_reported_next_to_all_together() -> None:
    by_layer = np.array([[2.0, 4.0], [3.0, 8.0]])
    made = Ablations(np.array([0.5, 1.5]), np.array([[9.0, 9.0], [8.0, 6.0]]), np.array([10.0, 10.0]), 1.2, by_layer)
    by_key = {number.key: number for number in sublayer_ablation.numbers(made, made, made, 64)}
    assert by_key["loss_without_one_ffn_nats"].value == 2.5
    assert by_key["loss_without_one_attention_nats"].value == 6.0
    assert by_key["loss_without_one_attention_nats"].baseline == 1.2, "the small sample has a baseline of its own"
    assert by_key["loss_without_ffns_nats"].value == 9.0 and by_key["loss_without_ffns_nats"].baseline == 1.0
    assert by_key["copied_without_attention"].value == 7.0 and by_key["recalled_without_ffns"].value == 9.0
    assert by_key["loss_nats"].baseline == pytest.approx(np.log(64))


def test_windows_are_read_from_the_beginning_and_the_end() -> None:
    with tiny_lab(NAME, tokens=400) as lab:
        lab.known_facts = ()
        first, last = whole_sample(lab).windows
        assert first.ids == lab.window_ids[0] and last.ids == lab.window_ids[-1]
    with tiny_lab(NAME, tokens=20) as short:
        short.known_facts = ()
        assert len(whole_sample(short).windows) == 1


def test_all_passes_are_known_before() -> None:
    with tiny_lab(NAME, tokens=100) as lab:
        lab.known_facts = (KnownFact(Question("capital", "", "", ""), (5, 4, 3), (1,), 2, 0.5),)
        expected, before = sublayer_ablation.EXPERIMENT.cost_tokens(lab), lab.tokens_fed
        finding = measure(lab)
    assert lab.tokens_fed - before == expected
    assert finding.verdict is Verdict.NOT_SUPPORTED, f"random weights lose nothing: {finding.reason}"
    assert [len(series.values) for curve in finding.curves for series in curve.series] == [3] * 5
