"""What prompts share is fed once, and nothing that is answered changes by it."""

import numpy as np
import pytest

from edge.edits import Ablate, Edit, Noise, ScaleHead
from edge.lab.passes import Ask, fed_tokens, starts
from tests.edge.lab.subjects import tiny_subject

IDS = tuple(range(5, 19))
PROMPTS = [
    Ask(IDS),
    Ask(IDS, (Ablate("layers.1.ffn", (9,)),)),
    Ask(IDS, (Noise((4, 5), 0.7, 3),), rows=3),
    Ask(IDS, (ScaleHead(0, 0, 0.0),), rows=len(IDS)),
    Ask((*IDS[:6], 3, 4)),
    Ask(IDS),
]


def test_a_prompt_is_fed_from_its_first_edit_or_difference_on() -> None:
    assert [start for _, start in starts(PROMPTS)] == [0, 9, 4, 0, 0, 6]
    assert fed_tokens(PROMPTS) == sum(len(ask.ids) - start for ask, start in starts(PROMPTS))
    assert [start for _, start in starts([Ask(IDS), Ask(IDS), Ask(IDS, rows=5)])] == [0, 13, 9], (
        "the wanted rows of a prompt that was fed before need another pass"
    )


@pytest.mark.parametrize(
    ("name", "engine"),
    [("llama-shared-heads-tied", "torch"), ("layers-that-differ", "onnx"), ("llama-shared-heads-tied", "mlx")],
)
def test_answers_are_those_of_fresh_passes(name: str, engine: str) -> None:
    with tiny_subject(name, engine=engine) as subject:
        together = subject.answers(PROMPTS, lambda logits: logits.copy())
        for place, (ask, found) in enumerate(zip(PROMPTS, together, strict=True)):
            edits: list[Edit] = list(ask.edits)
            fresh = subject.model.logits(list(ask.ids), edits)[-ask.rows :]
            np.testing.assert_allclose(found, fresh, atol=1e-4, err_msg=f"prompt {place}")
        assert subject.fed == fed_tokens(PROMPTS)
