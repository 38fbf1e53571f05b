"""S2: what is left without sublayers is what a smaller decoder would give, and the same on every engine."""

from collections.abc import Sequence

import numpy as np
import pytest

from edge.compare.estimate import costs_nats
from edge.edits import Edit
from edge.lab.claim import Verdict
from edge.lab.experiments import knockout
from edge.lab.experiments.knockout import (
    Knockouts,
    copied_share,
    loss_nats,
    loss_table,
    measure,
    read_windows,
    recalled_share,
    table,
)
from edge.lab.prompts import Question
from edge.lab.subject import Known, Subject
from models.sites import layer_site
from tests.edge.lab.subjects import counting, tiny_subject, zoo_subject
from tests.tiny import TINY_SPECS, tiny_weights

NAME = "neox-full-rotary-relu"
SUMS_STAY = [name for name, spec in TINY_SPECS.items() if not any(layer.norms_sum for layer in spec.layers)]


@pytest.mark.parametrize("name", SUMS_STAY)
def test_without_any_sublayer_the_embedding_is_read_by_the_head(name: str) -> None:
    with tiny_subject(name, tokens=60) as subject:
        costs = []
        for window in read_windows(subject):
            embedded = subject.see(window.ids).site(layer_site(0, "input"))
            costs.append(costs_nats(subject.readout.logits(embedded), np.array(window.targets)))
        found = loss_table(subject)
    assert found.without_both == pytest.approx(float(np.concatenate(costs).mean()), abs=1e-3)


@pytest.mark.parametrize(("place", "last"), [(0, ".ffn.down."), (1, ".attn.out.")])
def test_to_silence_what_writes_nothing_costs_nothing(place: int, last: str) -> None:
    changed = {key: 0 * value for key, value in tiny_weights(TINY_SPECS[NAME], 0).items() if last in key}
    with tiny_subject(NAME, changed, tokens=60) as subject:
        found = loss_table(subject)
    assert found.without[place] == pytest.approx(found.intact, abs=1e-5)
    assert np.abs(found.by_layer[:, place] - found.intact).max() < 1e-5
    assert found.without[1 - place] == pytest.approx(found.without_both, abs=1e-5)
    assert np.abs(found.by_layer[:, 1 - place] - found.intact).max() > 1e-3, "nothing was silenced at all"


def test_a_silenced_sublayer_is_one_whose_last_matrix_is_zero() -> None:
    zeroed = {
        key: 0 * value
        for key, value in tiny_weights(TINY_SPECS[NAME], 0).items()
        if key.startswith("layers.1.ffn.down.")
    }
    with tiny_subject(NAME, tokens=60) as whole, tiny_subject(NAME, zeroed, tokens=60) as without:
        assert loss_table(whole).by_layer[1, 0] == pytest.approx(loss_nats(without, ()), abs=1e-5)


@pytest.mark.parametrize("engine", ["onnx", "mlx"])
def test_engines_lose_the_same(engine: str) -> None:
    with zoo_subject(tokens=80, engine="torch") as one, zoo_subject(tokens=80, engine=engine) as other:
        first, second = loss_table(one), loss_table(other)
    for field in ("intact", "by_layer", "without", "without_both"):
        np.testing.assert_allclose(getattr(second, field), getattr(first, field), atol=1e-3, err_msg=field)


class Foreteller:
    """Answers by a rule: the token that followed the last time, or always the same."""

    def __init__(self, vocab: int, *, copies: bool) -> None:
        self.vocab, self.copies = vocab, copies

    def logits(self, ids: Sequence[int], edits: Sequence[Edit] = ()) -> np.ndarray:
        logits = np.zeros((len(ids), self.vocab), np.float32)
        for place, id in enumerate(ids):
            before = [earlier for earlier in range(place) if ids[earlier] == id]
            logits[place, ids[before[-1] + 1] if before and self.copies and not edits else 0] = 1
        return logits


def ruled(subject: Subject, *, copies: bool) -> Subject:
    subject.model = Foreteller(subject.spec.vocab_size, copies=copies)  # type: ignore[assignment]
    return subject


@pytest.mark.parametrize("name", [NAME, "layers-that-differ"])
def test_a_model_that_copies_foretells_every_repeat_and_another_none(name: str) -> None:
    with tiny_subject(name) as subject:
        assert copied_share(ruled(subject, copies=True), ()) == 1.0, "a copy was not believed"
        assert copied_share(ruled(subject, copies=False), ()) == 0.0
        assert copied_share(ruled(subject, copies=True), knockout.silenced([0], ["attn"])) == 0.0, "edits were lost"


def test_facts_count_by_their_likeliest_answer() -> None:
    with tiny_subject(NAME) as subject:
        question = Question("capital", "", "", "")
        right, wrong = (Known(question, tuple(range(9)), (2,), answer, 0.5) for answer in (0, 1))
        subject.known = (right, right, wrong, right)
        assert recalled_share(ruled(subject, copies=False), ()) == 0.75
        subject.known = ()
        assert np.isnan(recalled_share(subject, ())), "of no facts some were recalled"


def test_a_table_asks_for_every_sublayer_once() -> None:
    asked: list[tuple[str, ...]] = []

    def count(_: Subject, edits: Sequence[Edit]) -> float:
        asked.append(tuple(edit.site.removesuffix(".output") for edit in edits))
        return float(len(edits))

    with tiny_subject(NAME) as subject:
        found = table(subject, count)
    assert found.intact == 0 and found.without_both == 6
    assert found.by_layer.tolist() == [[1, 1]] * 3 and found.without.tolist() == [3, 3]
    assert len(asked) == len(set(asked)) == 2 * 3 + 4
    assert ("layers.2.attn",) in asked and ("layers.0.ffn", "layers.1.ffn", "layers.2.ffn") in asked


def test_the_mean_over_layers_is_told_beside_all_together() -> None:
    made = Knockouts(1.0, np.array([[2.0, 4.0], [3.0, 8.0]]), np.array([9.0, 7.0]), 10.0)
    by_key = {number.key: number for number in knockout.numbers(made, made, made, 64)}
    assert by_key["loss_without_one_ffn_nats"].value == 2.5
    assert by_key["loss_without_one_attention_nats"].value == 6.0
    assert by_key["loss_without_ffns_nats"].value == 9.0 and by_key["loss_without_ffns_nats"].baseline == 1.0
    assert by_key["copied_without_attention"].value == 7.0 and by_key["recalled_without_ffns"].value == 9.0
    assert by_key["loss_nats"].baseline == pytest.approx(np.log(64))


def test_windows_are_read_from_the_beginning_and_the_end() -> None:
    with tiny_subject(NAME, tokens=400) as subject:
        first, last = read_windows(subject)
        assert first.ids == subject.windows[0] and last.ids == subject.windows[-1]
    with tiny_subject(NAME, tokens=20) as short:
        assert len(read_windows(short)) == 1


def test_all_passes_are_told_before(monkeypatch: pytest.MonkeyPatch) -> None:
    with tiny_subject(NAME, tokens=100) as subject:
        subject.known = (Known(Question("capital", "", "", ""), (5, 4, 3), (1,), 2, 0.5),)
        foretold, fed = knockout.EXPERIMENT.cost_tokens(subject), list[int]()
        monkeypatch.setattr(subject.model, "logits", counting(subject.model.logits, fed))
        finding = measure(subject)
    assert sum(fed) == foretold
    assert finding.verdict in (Verdict.HOLDS, Verdict.FAILS)
    assert [len(series.values) for curve in finding.curves for series in curve.series] == [3] * 5
