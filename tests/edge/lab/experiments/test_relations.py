"""A2 scores heads by what they attend to, and finds the loss of copying without them."""

import numpy as np
import pytest

from edge.lab.experiments import head_ablation
from edge.lab.experiments.head_ablation import (
    copying_nats,
    heads_to_ablate,
    one_by_one,
    together,
)
from edge.lab.experiments.head_types import HEAD_TYPES, repeated, scores
from edge.lab.experiments.patterns import uniform_pattern
from edge.lab.experiments.relations import EXPERIMENT, measure, related
from edge.lab.prompts import REFERENCE
from edge.measure.heads import duplicate_token_mask, induction_mask
from edge.trace import Trace
from models.spec import Full
from tests.edge.lab.contexts import tiny_lab
from tests.tiny import TINY_SPECS, tiny_weights


@pytest.fixture
def run() -> Trace:
    with tiny_lab("llama-shared-heads-tied") as lab:
        return lab.run(repeated(lab)[0])


def looking_at(mask: np.ndarray) -> np.ndarray:
    """A head that spreads each row over a mask, and looks at itself where the mask has nothing."""
    pattern = np.where(mask.any(-1, keepdims=True), mask, np.eye(len(mask))).astype(np.float32)
    return np.asarray(pattern / pattern.sum(axis=-1, keepdims=True), np.float32)


def test_a_head_that_does_one_thing_alone_scores_1_at_it(run: Trace) -> None:
    ids = np.array(run.tokens)
    masks = (induction_mask(ids), np.eye(len(ids), k=-1), duplicate_token_mask(ids))
    found = scores(np.stack([looking_at(mask) for mask in masks]), ids)
    np.testing.assert_allclose(np.diag(found), 1, rtol=1e-5, err_msg=f"{HEAD_TYPES} of heads that do nothing else")
    assert found[HEAD_TYPES.index("induction"), 2] == 0.0, "a look at copies passed for induction"


def test_what_an_even_head_gives_is_counted_by_hand(run: Trace) -> None:
    ids, even = np.array(run.tokens), uniform_pattern(run.n_fed, Full())
    earlier = [[j for j in range(i) if ids[j] == ids[i]] for i in range(len(ids))]
    want = np.mean([len(places) / (i + 1) for i, places in enumerate(earlier) if places])
    induction, _, duplicate = scores(even, ids)
    assert duplicate == pytest.approx(want, rel=1e-5)
    assert induction == pytest.approx(want, rel=1e-5), "as many keys follow copies as there are copies"


def test_the_baseline_of_a_relation_is_the_share_of_keys() -> None:
    with tiny_lab("llama-shared-heads-tied") as lab:
        found = related(lab, REFERENCE)
        words = [lab.tokenizer.places(pair.first, pair.word)[-1] for pair in REFERENCE]
        meant = [len(lab.tokenizer.places(pair.first, pair.related)) for pair in REFERENCE]
    want = np.mean([count / (word + 1) for word, count in zip(words, meant, strict=True)])
    np.testing.assert_allclose(found.uniform, want, rtol=1e-5)


def test_removing_a_head_that_writes_nothing_costs_nothing() -> None:
    name = "llama-shared-heads-tied"
    matrix = tiny_weights(TINY_SPECS[name], 0)["layers.1.attn.out.weight"].copy()
    matrix[:, 8:16] = 0  # the columns of head 1
    with tiny_lab(name, {"layers.1.attn.out.weight": matrix}) as lab:
        intact = copying_nats(lab)
        cost = one_by_one(lab, intact, np.zeros((3, 4)))
        chosen = np.zeros_like(cost, np.bool_)
        chosen[1, 1] = True
        inactive, others = together(lab, intact, chosen)
    assert cost[1, 1] == pytest.approx(0.0, abs=1e-6), "a head that writes nothing costs something"
    assert np.abs(np.delete(cost.ravel(), 5)).min() > 1e-4, "a head that writes costs nothing"
    assert inactive == pytest.approx(0.0, abs=1e-6)
    assert abs(others) > 1e-4, "removing heads that write changed nothing"


def test_copying_costs_what_the_repeated_tokens_cost() -> None:
    with tiny_lab("neox-full-rotary-relu") as lab:
        costs = []
        for ids in repeated(lab)[: head_ablation.SEQUENCES]:
            logits = lab.model.logits(ids).astype(np.float64)
            chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
            start = len(ids) // 4
            costs += [-np.log(chances[place - 1, ids[place]]) for place in range(start, len(ids))]
        assert copying_nats(lab) == pytest.approx(np.mean(costs), rel=1e-6)


def test_heads_of_the_highest_score_are_removed_and_as_many_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_ablation, "MAX_ABLATED", 6)
    score = np.random.default_rng(2).random((5, 8))
    chosen = heads_to_ablate(score)
    assert len(set(chosen.tolist())) == 6
    assert set(np.argsort(-score, axis=None)[:3].tolist()) <= set(chosen.tolist()), "a high score was left out"


def test_its_cost_is_what_it_feeds() -> None:
    with tiny_lab("llama-shared-heads-tied") as lab:
        assert lab.traces
        expected, before = EXPERIMENT.cost_tokens(lab), lab.tokens_fed
        measure(lab)
        sets = (head_ablation.RANDOM_SETS + 1) * sum(map(len, repeated(lab)[: head_ablation.SEQUENCES]))
        assert lab.tokens_fed - before == expected - sets, "there was no induction head, so no set of heads was removed"


def test_random_weights_have_no_roles() -> None:
    with tiny_lab("llama-shared-heads-tied") as lab:
        found = {number.key: number for number in measure(lab).numbers}
    assert found["typed_heads_share"].value == 0.0
    assert np.isnan(found["induction_heads_ablated_nats"].value), "there was no induction head to remove"
