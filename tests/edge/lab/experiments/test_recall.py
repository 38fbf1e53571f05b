"""F5 and causal tracing: what is put back comes back, what cannot matter does not, and the verdict follows the rule."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

import numpy as np
import pytest

from edge.edits import Noise, Silence
from edge.lab.claim import Verdict
from edge.lab.experiments import recall, tracing
from edge.lab.experiments.recall import measure, numbers, verdict
from edge.lab.experiments.tracing import (
    DEVIATIONS,
    Silenced,
    Traced,
    embedding_deviation,
    passes,
    silence_facts,
    trace_facts,
    tried_layers,
    watched,
    window_sites,
    window_size,
)
from edge.lab.prompts import SEED, Question
from edge.lab.subject import Known, Subject
from tests.edge.lab.subjects import counting, tiny_subject, zoo_subject
from tests.tiny import TINY_SPECS, tiny_weights

NAME = "neox-full-rotary-relu"
SUBLAYERS = {"ffn": 0, "attn": 1}


class Knowing(Subject):
    """A subject whose model counts whatever it answers to random prompts as known."""

    @cached_property
    def known(self) -> tuple[Known, ...]:
        found = []
        for number in range(9):
            ids = np.random.default_rng(number).integers(0, self.spec.vocab_size, 7).tolist()
            logits = self.model.logits(ids)[-1].astype(np.float64)
            share = np.exp(logits - logits.max())
            answer = int(logits.argmax())
            question = Question("capital", "", "", "")
            found.append(Known(question, tuple(ids), (2, 3, 4), answer, float(share[answer] / share.sum())))
        return tuple(found)


@contextmanager
def knowing(name: str, silent: str | None = None) -> Iterator[Subject]:
    """A tiny model, one kind of whose sublayers writes nothing."""
    last = {"ffn": ".ffn.down.", "attn": ".attn.out.", None: "nothing"}[silent]
    changed = {key: 0 * value for key, value in tiny_weights(TINY_SPECS[name], 0).items() if last in key}
    with tiny_subject(name, changed, kind=Knowing) as subject:
        yield subject


def noise_of(fact: tracing.Fact, facts: list[tracing.Fact]) -> Noise:
    return Noise(fact.known.subject, DEVIATIONS * embedding_deviation(facts), 1)


@pytest.mark.parametrize("name", TINY_SPECS)
def test_the_clean_state_at_the_last_token_is_the_clean_answer(name: str) -> None:
    with knowing(name) as subject:
        facts = watched(subject, subject.known[:2])
        for fact in facts:
            noise, last = noise_of(fact, facts), f"layers.{subject.spec.n_layers - 1}.output"
            corrupted = subject.probability(fact.known, [noise])
            restored = subject.probability(fact.known, [noise, *fact.restored([last], (fact.prompt_end,))])
            assert restored == pytest.approx(fact.known.probability, abs=1e-5), f"{name}: it was not restored"
            assert corrupted != pytest.approx(fact.known.probability, abs=1e-4), f"{name}: noise changed nothing"


def test_what_stands_before_the_subject_needs_no_restoring() -> None:
    with knowing(NAME) as subject:
        facts = watched(subject, subject.known[:3])
        for fact in facts:
            noise = noise_of(fact, facts)
            edits = fact.restored(["layers.1.ffn.output", "layers.1.output"], (0, 1))
            untouched = subject.probability(fact.known, [noise])
            assert subject.probability(fact.known, [noise, *edits]) == pytest.approx(untouched, abs=1e-6)


@pytest.mark.parametrize("silent", SUBLAYERS)
def test_sublayers_that_write_nothing_bring_nothing_back(silent: str) -> None:
    with knowing(NAME, silent) as subject:
        facts = watched(subject, subject.known[:1])
        found, lost = trace_facts(subject, facts), silence_facts(subject, facts)
    for effects in (found.subject_end, found.borrowed, found.subject, found.prompt_end, lost.everywhere):
        assert np.abs(effects[:, SUBLAYERS[silent]]).max() < 1e-6, f"{silent} writes nothing, and mattered"
    if silent == "ffn":
        assert np.abs(found.prompt_end[:, SUBLAYERS["attn"]]).max() > 1e-3, "attention restored nothing either"
    else:
        assert found.total == pytest.approx(0, abs=1e-6), "a blurred subject was felt further on without attention"


def test_means_are_over_facts_and_draws() -> None:
    """One number of each kind, put together again by hand."""
    with knowing(NAME) as subject:
        facts = watched(subject, subject.known[:2])
        found, lost = trace_facts(subject, facts), silence_facts(subject, facts)
        deviation = DEVIATIONS * embedding_deviation(facts)
        totals, restored, borrowed, silenced = [], [], [], []
        for number, fact in enumerate(facts):
            other, sites = facts[1 - number], window_sites(1, 3, "attn")
            for draw in range(tracing.DRAWS):
                noise = Noise((2, 3, 4), deviation, SEED + tracing.DRAWS * number + draw)
                without = subject.probability(fact.known, [noise])
                totals.append(fact.known.probability - without)
                put = fact.restored(sites, (2, 3, 4))
                restored.append(subject.probability(fact.known, [noise, *put]) - without)
                borrowed.append(subject.probability(fact.known, [noise, *fact.borrowed(sites, other)]) - without)
            gone = subject.probability(fact.known, [Silence("layers.1.attn", (4,))])
            silenced.append(fact.known.probability - gone)
    assert found.total == pytest.approx(np.mean(totals))
    assert found.subject[1, 1] == pytest.approx(np.mean(restored))
    assert found.borrowed[1, 1] == pytest.approx(np.mean(borrowed))
    assert lost.subject_end[1, 1] == pytest.approx(np.mean(silenced))


def test_the_deviation_is_that_of_what_enters_at_subjects() -> None:
    with knowing(NAME) as subject:
        facts = watched(subject, subject.known[:4])
        rows = subject.model.checkpoint.weights["embed.weight"][[id for fact in facts for id in fact.known.ids[2:5]]]
    assert embedding_deviation(facts) == pytest.approx(float(np.std(rows.astype(np.float64))), rel=1e-5)


def test_windows_are_a_third_of_the_layers_around_one() -> None:
    assert [window_size(layers) for layers in (1, 2, 3, 6, 24, 48)] == [1, 1, 1, 2, 8, 16]
    assert window_sites(3, 6, "ffn") == ["layers.2.ffn.output", "layers.3.ffn.output"]
    assert window_sites(0, 6, "attn") == ["layers.0.attn.output"], "a window reaches below the first layer"
    assert len(window_sites(23, 24, "ffn")) == 5, "a window reaches above the last layer"


@pytest.mark.parametrize("layers", [1, 2, 6, 12, 13, 30, 80])
def test_both_ends_are_tried_and_no_more_than_twelve_layers(layers: int) -> None:
    tried = tried_layers(layers)
    assert tried[0] == 0 and tried[-1] == layers - 1
    assert len(tried) == min(layers, 12) == len(set(tried))


def made(ffn: list[float], attention: list[float], borrowed: float = 0.0) -> Traced:
    """Effects at the subject's last token; everything else is nothing."""
    zeros = np.zeros((len(ffn), 2))
    end = np.stack([np.array(ffn), np.array(attention)], axis=1)
    return Traced(0.5, end, zeros + borrowed, zeros, zeros, zeros[:, 0])


def test_the_verdict_asks_for_a_lead_in_the_middle() -> None:
    assert verdict(made([0.0, 0.1, 0.0], [0.0, 0.05, 0.0])) is Verdict.HOLDS
    assert verdict(made([0.0, 0.1, 0.0], [0.0, 0.0, 0.095])) is Verdict.FAILS, "a lead of 0.005 is none"
    assert verdict(made([0.1, 0.0, 0.0], [0.0, 0.0, 0.0])) is Verdict.FAILS, "the first layer is not in the middle"
    assert verdict(made([0.0, 0.0, 0.1], [0.0, 0.0, 0.0])) is Verdict.FAILS, "the last layer is not in the middle"
    assert verdict(made([0.0, 0.1, 0.0], [0.0, 0.0, 0.0], borrowed=0.1)) is Verdict.FAILS, "any value would do"


def test_numbers_are_the_largest_of_means_and_the_mean_of_losses() -> None:
    found = replace(made([0.0, 0.2, 0.1], [0.05, 0.0, 0.0], borrowed=0.01))
    lost = Silenced(np.zeros((3, 2)), np.array([[0.3, 0.0], [0.0, 0.6], [0.0, 0.0]]))
    by_key = {number.key: number for number in numbers(found, lost)}
    assert by_key["ffn_indirect_effect"].value == pytest.approx(0.2)
    assert by_key["ffn_indirect_effect"].baseline == pytest.approx(0.01)
    assert by_key["attention_indirect_effect"].value == pytest.approx(0.05)
    assert by_key["ffn_knockout_loss"].value == pytest.approx(0.1)
    assert by_key["attention_knockout_loss"].value == pytest.approx(0.2)
    assert by_key["total_effect"].value == 0.5


def test_a_model_that_knows_little_is_not_tried() -> None:
    with tiny_subject(NAME) as subject:
        subject.known = ()
        finding = measure(subject)
        assert recall.EXPERIMENT.cost_tokens(subject) == 0
    assert finding.verdict is Verdict.UNKNOWN and "8 are needed" in finding.says


def test_all_passes_are_told_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "FEWEST_FACTS", 2)
    with knowing(NAME) as subject:
        subject.known = subject.known[:2]
        foretold, fed = recall.EXPERIMENT.cost_tokens(subject), list[int]()
        monkeypatch.setattr(subject.model, "logits", counting(subject.model.logits, fed))
        monkeypatch.setattr(subject, "see", counting(subject.see, fed))
        finding = measure(subject)
    assert sum(fed) == foretold == passes(3) * 2 * 7
    assert len(finding.curves[0].x) == 3


def test_the_twin_recalls_as_it_computes() -> None:
    """Without noise there is nothing to bring back; with it, recall is lost and what comes back is a part of that."""
    with zoo_subject(tokens=50) as subject:
        facts = watched(subject, subject.known[:2])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tracing, "DEVIATIONS", 0.0)
            patch.setattr(tracing, "DRAWS", 1)
            patch.setattr(tracing, "MOST_LAYERS", 2)
            calm = trace_facts(subject, facts)
        total = np.mean([f.known.probability - subject.probability(f.known, [noise_of(f, facts)]) for f in facts])
    assert calm.total == pytest.approx(0, abs=1e-5) and np.abs(calm.subject).max() < 1e-5
    assert np.abs(calm.borrowed).max() > 1e-4, "another fact's values are this one's"
    assert total > 0.3, "noise of three deviations leaves the answer as it was"
