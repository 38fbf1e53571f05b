"""A3 moves the first copy alone, and finds how far a model of known memory copies."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from edge.lab.context import LabContext
from edge.lab.effect import Verdict
from edge.lab.experiments.distance import EXPERIMENT, Layout, copy_accuracies, layout_of, measure, prompt
from edge.lab.experiments.pattern_scores import over_tokens, passage_scores
from edge.lab.passes import Prompt
from edge.trace import Trace
from models.spec import Sliding
from tests.edge.lab.contexts import tiny_lab
from tests.tiny import TINY_SPECS, tiny_weights

NAME = "llama-shared-heads-tied"


class Copier(LabContext):
    """Predicts what followed the same token if that was at most `memory` tokens ago, or longer for some; else token 0.

    Attributes:
        keeps: Ids that it divides are copied from anywhere.
    """

    memory, keeps = 0, 10**9

    @property
    def traces(self) -> tuple[Trace, ...]:
        return (self.run(self.passage[:20]),)

    def with_memory(self, memory: int, keeps: int = 10**9) -> "Copier":
        self.memory, self.keeps = memory, keeps
        return self

    def read_logits(self, prompts: Iterable[Prompt], read: Callable[[np.ndarray], Any]) -> list[Any]:
        return [read(self.answer(ask.ids)[-ask.rows :]) for ask in prompts]

    def answer(self, ids: Sequence[int]) -> np.ndarray:
        logits = np.zeros((len(ids), self.spec.vocab_size), np.float32)
        for place, id in enumerate(ids):
            window = place if id % self.keeps == 0 else self.memory
            earlier = [j for j in range(max(0, place - window), place) if ids[j] == id]
            logits[place, ids[earlier[-1] + 1] if earlier else 0] = 50.0
        return logits


def test_only_the_first_copy_moves() -> None:
    with tiny_lab(NAME) as lab:
        layout = layout_of(lab)
        assert layout is not None
        plain = prompt(lab, layout, 3, None)
        listed = plain[-layout.list_tokens :]
        assert len(set(listed)) == layout.list_tokens, "a token stands twice in the list"
        assert not set(listed) & set(plain[: -layout.list_tokens]), "the list stands in the filler"
        for distance in layout.distances:
            ids = prompt(lab, layout, 3, distance)
            start = len(ids) - layout.list_tokens - distance
            assert ids[start : start + layout.list_tokens] == listed, f"no copy {distance} tokens back"
            changed = [place for place, (a, b) in enumerate(zip(ids, plain, strict=True)) if a != b]
            assert set(changed) <= set(range(start, start + layout.list_tokens)), "more than the first copy moved"


@pytest.mark.parametrize("name", ["layers-that-differ", "gpt2-learned-positions-tied"])
def test_prompts_fit_the_context(name: str) -> None:
    with tiny_lab(name) as lab:
        layout = layout_of(lab)
        assert layout is not None
        assert len(prompt(lab, layout, 0, layout.distances[-1])) <= lab.spec.context
        assert layout.distances[0] == layout.list_tokens, "the nearest copy does not stand just before"


def test_a_model_copies_as_far_as_its_memory_reaches() -> None:
    with tiny_lab(NAME, kind=Copier) as lab:
        assert isinstance(lab, Copier)
        lab.with_memory(30)
        layout = Layout(8, (8, 29, 30, 31, 40))
        none, *shares = (found.share for found in copy_accuracies(lab, layout))
        assert shares == [1, 1, 1, 0, 0]
        assert none == 0.0, "something was copied that had not been there"


@pytest.mark.parametrize(
    ("memory", "verdict"), [(64, Verdict.SUPPORTED), (20, Verdict.NOT_SUPPORTED), (0, Verdict.NOT_SUPPORTED)]
)
def test_the_verdict_follows_the_memory(memory: int, verdict: Verdict) -> None:
    with tiny_lab(NAME, kind=Copier) as lab:
        assert isinstance(lab, Copier)
        assert measure(lab.with_memory(memory)).verdict is verdict


@pytest.mark.parametrize(("keeps", "verdict"), [(5, Verdict.NOT_SUPPORTED), (3, Verdict.INCONCLUSIVE)])
def test_copying_less_than_half_as_much_from_far_is_not_reaching_far(keeps: int, verdict: Verdict) -> None:
    """A fifth of all tokens is kept: more than chance by far, and not enough; eight prompts leave a third open."""
    with tiny_lab(NAME, kind=Copier) as lab:
        assert isinstance(lab, Copier)
        finding = measure(lab.with_memory(20, keeps=keeps))
    found = {number.key: number for number in finding.numbers}
    share = found["copied_share_far"]
    assert share.baseline is not None
    assert 2 * share.baseline < share.value < 0.5 * found["copied_share_near"].value, "the case is not the one meant"
    assert finding.verdict is verdict, finding.reason


def test_heads_with_zero_queries_attend_as_far_as_uniform_ones() -> None:
    name = "layers-that-differ"
    inactive = {key: 0 * value for key, value in tiny_weights(TINY_SPECS[name], 0).items() if ".attn.query." in key}
    with tiny_lab(name, inactive) as lab:
        looks = passage_scores(lab)
        for score in ("distance", "first", "previous"):
            own, even = (over_tokens(getattr(side, score)) for side in (looks.heads, looks.uniform))
            np.testing.assert_allclose(own, np.repeat(even[:, None], own.shape[1], axis=1), rtol=1e-4, err_msg=score)
        for even, kind in zip(over_tokens(looks.uniform.distance), lab.spec.attentions, strict=True):
            if isinstance(kind.window, Sliding):
                assert even < kind.window.tokens, "a sliding layer looks beyond its span"


def test_its_cost_is_what_it_feeds() -> None:
    """The prompts of one list share the tokens before the first copy."""
    with tiny_lab(NAME) as lab:
        assert lab.traces
        expected, before = EXPERIMENT.cost_tokens(lab), lab.tokens_fed
        measure(lab)
        assert lab.tokens_fed - before == expected
