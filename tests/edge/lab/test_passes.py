"""What prompts share is fed once, and nothing that is answered changes by it."""

import numpy as np
import pytest

from edge.change import Edit
from edge.edits import Ablate, Noise, ScaleHead
from edge.lab.passes import Prompt, fed_tokens, starts
from tests.edge.lab.contexts import tiny_lab

IDS = tuple(range(5, 19))
PROMPTS = [
    Prompt(IDS),
    Prompt(IDS, (Ablate("layers.1.ffn", (9,)),)),
    Prompt(IDS, (Noise((4, 5), 0.7, 3),), rows=3),
    Prompt(IDS, (ScaleHead(0, 0, 0.0),), rows=len(IDS)),
    Prompt((*IDS[:6], 3, 4)),
    Prompt(IDS),
]


def test_a_prompt_is_fed_from_its_first_edit_or_difference_on() -> None:
    assert [start for _, start in starts(PROMPTS)] == [0, 9, 4, 0, 0, 6]
    assert fed_tokens(PROMPTS) == sum(len(ask.ids) - start for ask, start in starts(PROMPTS))
    assert [start for _, start in starts([Prompt(IDS), Prompt(IDS), Prompt(IDS, rows=5)])] == [0, 13, 9], (
        "the wanted rows of a prompt that was fed before need another pass"
    )


@pytest.mark.parametrize(
    ("name", "engine"),
    [("llama-shared-heads-tied", "torch"), ("layers-that-differ", "onnx"), ("llama-shared-heads-tied", "mlx")],
)
def test_answers_are_those_of_fresh_passes(name: str, engine: str) -> None:
    with tiny_lab(name, engine=engine) as lab:
        together = lab.read_logits(PROMPTS, lambda logits: logits.copy())
        for place, (ask, found) in enumerate(zip(PROMPTS, together, strict=True)):
            edits: list[Edit] = list(ask.edits)
            fresh = lab.model.logits(list(ask.ids), edits)[-ask.rows :]
            np.testing.assert_allclose(found, fresh, atol=1e-4, err_msg=f"prompt {place}")
        assert lab.tokens_fed == fed_tokens(PROMPTS)
