"""A3 moves the first copy alone, and finds how far a model of known memory copies."""

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from edge.lab.claim import Verdict
from edge.lab.experiments.distance import Layout, copied, layout_of, looked_back, measure, prompt
from edge.lab.subject import Subject
from edge.trace import Trace
from models.spec import Sliding
from tests.edge.lab.subjects import tiny_subject
from tests.tiny import TINY_SPECS, tiny_weights

NAME = "llama-shared-heads-tied"


class Copier(Subject):
    """Answers what followed the same token if that was at most `memory` tokens ago, or longer for some; else token 0.

    Attributes:
        keeps: Ids that it divides are copied from anywhere.
    """

    memory, keeps = 0, 10**9

    @property
    def traces(self) -> tuple[Trace, ...]:
        return (self.see(self.passage[:20]),)

    def with_memory(self, memory: int, keeps: int = 10**9) -> "Copier":
        self.memory, self.keeps, model = memory, keeps, self.model
        self.model = SimpleNamespace(logits=self.answer, run=model.run)  # type: ignore[assignment]
        return self

    def answer(self, ids: Sequence[int], edits: object = ()) -> np.ndarray:
        logits = np.zeros((len(ids), self.spec.vocab_size), np.float32)
        for place, id in enumerate(ids):
            reach = place if id % self.keeps == 0 else self.memory
            earlier = [j for j in range(max(0, place - reach), place) if ids[j] == id]
            logits[place, ids[earlier[-1] + 1] if earlier else 0] = 50.0
        return logits


def test_only_the_first_copy_moves() -> None:
    with tiny_subject(NAME) as subject:
        layout = layout_of(subject)
        assert layout is not None
        plain = prompt(subject, layout, 3, None)
        listed = plain[-layout.list_tokens :]
        assert len(set(listed)) == layout.list_tokens, "a token stands twice in the list"
        assert not set(listed) & set(plain[: -layout.list_tokens]), "the list stands in the filler"
        for distance in layout.distances:
            ids = prompt(subject, layout, 3, distance)
            start = len(ids) - layout.list_tokens - distance
            assert ids[start : start + layout.list_tokens] == listed, f"no copy {distance} tokens back"
            changed = [place for place, (a, b) in enumerate(zip(ids, plain, strict=True)) if a != b]
            assert set(changed) <= set(range(start, start + layout.list_tokens)), "more than the first copy moved"


@pytest.mark.parametrize("name", ["layers-that-differ", "gpt2-learned-positions-tied"])
def test_prompts_fit_the_context(name: str) -> None:
    with tiny_subject(name) as subject:
        layout = layout_of(subject)
        assert layout is not None
        assert len(prompt(subject, layout, 0, layout.distances[-1])) <= subject.spec.context
        assert layout.distances[0] == layout.list_tokens, "the nearest copy does not stand just before"


def test_a_model_copies_as_far_as_its_memory_reaches() -> None:
    with tiny_subject(NAME, kind=Copier) as subject:
        assert isinstance(subject, Copier)
        subject.with_memory(30)
        layout = Layout(8, (8, 29, 30, 31, 40))
        shares = [copied(subject, layout, distance).share for distance in layout.distances]
        assert shares == [1, 1, 1, 0, 0]
        assert copied(subject, layout, None).share == 0.0, "something was copied that had not been there"


@pytest.mark.parametrize(("memory", "verdict"), [(64, Verdict.HOLDS), (20, Verdict.FAILS), (0, Verdict.FAILS)])
def test_the_verdict_follows_the_memory(memory: int, verdict: Verdict) -> None:
    with tiny_subject(NAME, kind=Copier) as subject:
        assert isinstance(subject, Copier)
        assert measure(subject.with_memory(memory)).verdict is verdict


def test_copying_less_than_half_as_much_from_far_is_not_reaching_far() -> None:
    """A third of all tokens is kept: more than chance by far, and not enough."""
    with tiny_subject(NAME, kind=Copier) as subject:
        assert isinstance(subject, Copier)
        finding = measure(subject.with_memory(20, keeps=3))
    found = {number.key: number for number in finding.numbers}
    share = found["copied_share_far"]
    assert share.baseline is not None
    assert 2 * share.baseline < share.value < 0.5 * found["copied_share_near"].value, "the case is not the one meant"
    assert finding.verdict is Verdict.FAILS


def test_heads_with_silent_queries_look_as_far_as_even_ones() -> None:
    name = "layers-that-differ"
    silent = {key: 0 * value for key, value in tiny_weights(TINY_SPECS[name], 0).items() if ".attn.query." in key}
    with tiny_subject(name, silent) as subject:
        for (far, even, first, even_first), kind in zip(looked_back(subject), subject.spec.layers, strict=True):
            np.testing.assert_allclose(far, even, rtol=1e-4)
            assert first == pytest.approx(even_first, rel=1e-4)
            if isinstance(kind.reach, Sliding):
                assert even < kind.reach.span, "a sliding layer looks beyond its span"
