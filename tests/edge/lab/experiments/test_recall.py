"""F5 and causal tracing: what is put back comes back, what cannot matter does not, and the verdict follows the rule."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import pytest

from edge.edits import Ablate, Noise
from edge.lab.context import KnownFact, LabContext
from edge.lab.effect import Verdict, verdict_of
from edge.lab.experiments import causal_tracing, recall
from edge.lab.experiments.causal_tracing import (
    DEVIATIONS,
    Traced,
    ablate_facts,
    clean_traces,
    embedding_deviation,
    fact_tokens,
    middle_layers,
    trace_facts,
    traced_layers,
    window_sites,
    window_size,
)
from edge.lab.experiments.recall import effects, measure, numbers
from edge.lab.prompts import SEED, Question
from tests.edge.lab.contexts import tiny_lab, zoo_lab
from tests.tiny import TINY_SPECS, tiny_weights

NAME = "neox-full-rotary-relu"
SUBLAYERS = {"ffn": 0, "attn": 1}


class Knowing(LabContext):
    """A lab whose model counts whatever it answers to random prompts as known."""

    @cached_property
    def known_facts(self) -> tuple[KnownFact, ...]:
        found = []
        for number in range(9):
            ids = np.random.default_rng(number).integers(0, self.spec.vocab_size, 7).tolist()
            logits = self.model.logits(ids)[-1].astype(np.float64)
            share = np.exp(logits - logits.max())
            answer = int(logits.argmax())
            question = Question("capital", "", "", "")
            found.append(KnownFact(question, tuple(ids), (2, 3, 4), answer, float(share[answer] / share.sum())))
        return tuple(found)


@contextmanager
def knowing(name: str, inactive: str | None = None) -> Iterator[LabContext]:
    """A tiny model, one kind of whose sublayers writes nothing."""
    last = {"ffn": ".ffn.down.", "attn": ".attn.out.", None: "nothing"}[inactive]
    changed = {key: 0 * value for key, value in tiny_weights(TINY_SPECS[name], 0).items() if last in key}
    with tiny_lab(name, changed, kind=Knowing) as lab:
        yield lab


def noise_of(fact: causal_tracing.Fact, facts: list[causal_tracing.Fact]) -> Noise:
    return Noise(fact.known.subject, DEVIATIONS * embedding_deviation(facts), 1)


@pytest.mark.parametrize("name", TINY_SPECS)
def test_the_clean_state_at_the_last_token_is_the_clean_answer(name: str) -> None:
    with knowing(name) as lab:
        facts = clean_traces(lab, lab.known_facts[:2])
        for fact in facts:
            noise, last = noise_of(fact, facts), f"layers.{lab.spec.n_layers - 1}.output"
            corrupted = lab.probability(fact.known, [noise])
            restored = lab.probability(fact.known, [noise, *fact.restored([last], (fact.prompt_end,))])
            assert restored == pytest.approx(fact.known.probability, abs=1e-5), f"{name}: it was not restored"
            assert corrupted != pytest.approx(fact.known.probability, abs=1e-4), f"{name}: noise changed nothing"


def test_what_stands_before_the_subject_needs_no_restoring() -> None:
    with knowing(NAME) as lab:
        facts = clean_traces(lab, lab.known_facts[:3])
        for fact in facts:
            noise = noise_of(fact, facts)
            edits = fact.restored(["layers.1.ffn.output", "layers.1.output"], (0, 1))
            untouched = lab.probability(fact.known, [noise])
            assert lab.probability(fact.known, [noise, *edits]) == pytest.approx(untouched, abs=1e-6)


@pytest.mark.parametrize("inactive", SUBLAYERS)
def test_sublayers_that_write_nothing_bring_nothing_back(inactive: str) -> None:
    with knowing(NAME, inactive) as lab:
        facts = clean_traces(lab, lab.known_facts[:1])
        found, lost = trace_facts(lab, facts), ablate_facts(lab, facts)
    for back in (found.subject_end, found.subject, found.prompt_end, lost):
        assert np.abs(back[..., SUBLAYERS[inactive]]).max() < 1e-6, f"{inactive} writes nothing, and mattered"
    if inactive == "ffn":
        assert np.abs(found.prompt_end[..., SUBLAYERS["attn"]]).max() > 1e-3, "attention restored nothing either"
    else:
        assert np.abs(found.total).max() < 1e-6, "a blurred subject was felt further on without attention"


def test_each_fact_is_traced_as_by_hand() -> None:
    """One number of each kind; what passes share makes no difference."""
    with knowing(NAME) as lab:
        facts = clean_traces(lab, lab.known_facts[:2])
        found, lost = trace_facts(lab, facts), ablate_facts(lab, facts)
        deviation = DEVIATIONS * embedding_deviation(facts)
        totals, restored, borrowed, ablated = [], [], [], []
        for number, fact in enumerate(facts):
            other, sites = facts[1 - number], window_sites(1, 3, "attn")
            noise = Noise((2, 3, 4), deviation, SEED + number)
            without = lab.probability(fact.known, [noise])
            totals.append(fact.known.probability - without)
            put = fact.restored(sites, (2, 3, 4))
            restored.append(lab.probability(fact.known, [noise, *put]) - without)
            lent = fact.borrowed(window_sites(1, 3, "ffn"), other)
            borrowed.append(lab.probability(fact.known, [noise, *lent]) - without)
            gone = lab.probability(fact.known, [Ablate("layers.1.attn")])
            ablated.append(fact.known.probability - gone)
    np.testing.assert_allclose(found.total, totals, atol=1e-6)
    np.testing.assert_allclose(found.subject[:, 1, 1], restored, atol=1e-6)
    np.testing.assert_allclose(found.borrowed[:, 1], borrowed, atol=1e-6)
    np.testing.assert_allclose(lost[:, 1, 1], ablated, atol=1e-6)


def test_the_deviation_is_that_of_what_enters_at_subjects() -> None:
    with knowing(NAME) as lab:
        facts = clean_traces(lab, lab.known_facts[:4])
        rows = lab.model.checkpoint.weights["embed.weight"][[id for fact in facts for id in fact.known.ids[2:5]]]
    assert embedding_deviation(facts) == pytest.approx(float(np.std(rows.astype(np.float64))), rel=1e-5)


def test_windows_are_a_third_of_the_layers_around_one() -> None:
    assert [window_size(layers) for layers in (1, 2, 3, 6, 24, 48)] == [1, 1, 1, 2, 8, 16]
    assert window_sites(3, 6, "ffn") == ["layers.2.ffn.output", "layers.3.ffn.output"]
    assert window_sites(0, 6, "attn") == ["layers.0.attn.output"], "a window reaches below the first layer"
    assert len(window_sites(23, 24, "ffn")) == 5, "a window reaches above the last layer"


@pytest.mark.parametrize("layers", [1, 2, 6, 12, 13, 30, 80])
def test_both_ends_are_tried_and_no_more_than_seven_layers(layers: int) -> None:
    tried = traced_layers(layers)
    assert tried[0] == 0 and tried[-1] == layers - 1
    assert len(tried) == min(layers, 7) == len(set(tried))


@pytest.mark.parametrize(("layers", "inside"), [(1, 0), (2, 0), (3, 1), (6, 3), (12, 4), (30, 4), (48, 4)])
def test_windows_of_middle_layers_hold_neither_end(layers: int, inside: int) -> None:
    middle = [traced_layers(layers)[place] for place in middle_layers(layers)]
    assert len(middle) == inside
    for layer in middle:
        assert not {0, layers - 1} & set(causal_tracing.window_layers(layer, layers)), f"layer {layer} of {layers}"


def made(ffn: list[float], attention: list[float], borrowed: float = 0.0, noise: float = 0.02) -> Traced:
    """Effects at the subject's last token of nine facts that differ a little; everything else is nothing."""
    facts = 9
    unrest = noise * np.random.default_rng(3).standard_normal((facts, len(ffn), 2))
    end = np.stack([np.array(ffn), np.array(attention)], axis=1) + unrest
    zeros = np.zeros((facts, len(ffn)))
    return Traced(np.full(facts, 0.5), end, zeros + borrowed, 0 * end, 0 * end)


def test_the_verdict_asks_for_a_lead_in_the_middle() -> None:
    def verdict(ffn: list[float], attention: list[float], borrowed: float = 0.0, noise: float = 0.02) -> Verdict:
        return verdict_of(effects(made(ffn, attention, borrowed, noise), [1]))

    assert verdict([0.0, 0.2, 0.0], [0.0, 0.05, 0.0]) is Verdict.SUPPORTED
    assert verdict([0.2, 0.2, 0.0], [0.0, 0.0, 0.0]) is Verdict.SUPPORTED, "a first layer as strong takes nothing away"
    assert verdict([0.0, 0.2, 0.0], [0.0, 0.2, 0.0]) is Verdict.NOT_SUPPORTED, "a lead of nothing is none"
    assert verdict([0.0, 0.1, 0.0], [0.0, 0.4, 0.0]) is Verdict.NOT_SUPPORTED, "attention leads"
    assert verdict([0.2, 0.0, 0.0], [0.0, 0.0, 0.0]) is Verdict.NOT_SUPPORTED, "the first layer is not in the middle"
    assert verdict([0.0, 0.0, 0.2], [0.0, 0.0, 0.0]) is Verdict.NOT_SUPPORTED, "the last layer is not in the middle"
    assert verdict([0.0, 0.2, 0.0], [0.0, 0.0, 0.0], borrowed=0.2) is Verdict.NOT_SUPPORTED, "any value would do"
    assert verdict([0.0, 0.1, 0.0], [0.0, 0.0, 0.0], noise=0.3) is Verdict.INCONCLUSIVE, (
        "facts differ by more than the lead"
    )


def test_a_lead_is_a_share_of_what_was_lost() -> None:
    lead = effects(made([0.0, 0.2, 0.0], [0.0, 0.05, 0.0], noise=0.0), [1])[1]
    assert lead.value == pytest.approx(0.15 / 0.5)


def test_numbers_are_the_largest_of_means_and_the_mean_of_losses() -> None:
    found = made([0.0, 0.2, 0.1], [0.05, 0.0, 0.0], borrowed=0.01, noise=0.0)
    losses = np.repeat(np.array([[0.3, 0.0], [0.0, 0.6], [0.0, 0.0]])[None], 9, axis=0)
    by_key = {number.key: number for number in numbers(found, losses)}
    assert by_key["ffn_indirect_effect"].value == pytest.approx(0.2)
    assert by_key["ffn_indirect_effect"].baseline == pytest.approx(0.01)
    assert by_key["attention_indirect_effect"].value == pytest.approx(0.05)
    assert by_key["ffn_ablation_loss"].value == pytest.approx(0.1)
    assert by_key["attention_ablation_loss"].value == pytest.approx(0.2)
    assert by_key["total_effect"].value == 0.5


def test_a_model_that_knows_little_is_not_tried() -> None:
    with tiny_lab(NAME) as lab:
        lab.known_facts = ()
        finding = measure(lab)
        assert recall.EXPERIMENT.cost_tokens(lab) == 0
    assert finding.verdict is Verdict.NOT_APPLICABLE and "tracing needs 8" in finding.summary


def test_all_passes_are_known_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "MIN_FACTS", 2)
    with knowing(NAME) as lab:
        lab.known_facts = lab.known_facts[:2]
        expected, before = recall.EXPERIMENT.cost_tokens(lab), lab.tokens_fed
        finding = measure(lab)
    assert lab.tokens_fed - before == expected == sum(fact_tokens(one, 3) for one in lab.known_facts)
    assert len(finding.curves[0].x) == 3


def test_a_bundled_model_recalls_what_it_computes() -> None:
    """Without noise there is nothing to restore; with it, recall is lost and a part of it is restored."""
    with zoo_lab(tokens=50) as lab:
        facts = clean_traces(lab, lab.known_facts[:2])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(causal_tracing, "DEVIATIONS", 0.0)
            patch.setattr(causal_tracing, "MAX_LAYERS", 2)
            calm = trace_facts(lab, facts)
        total = np.mean([f.known.probability - lab.probability(f.known, [noise_of(f, facts)]) for f in facts])
    assert np.abs(calm.total).max() < 1e-5 and np.abs(calm.subject).max() < 1e-5
    assert np.abs(calm.borrowed).max() > 1e-4, "another fact's values are this one's"
    assert total > 0.3, "noise of three deviations leaves the answer as it was"
