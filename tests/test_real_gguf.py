"""SmolLM2's published GGUF file, against logits, tokens and outputs of llama.cpp that were recorded elsewhere."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import edge
from models.chat import Turn
from models.checkpoint import open_checkpoint
from tests.real import smollm2_gguf
from tests.shared import shared

EXACT = ("torch", "onnx:mixed-acc0", "mlx")


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads(shared("gguf_golden.json").read_text(encoding="utf8"))
    found: dict[str, Any] = recorded["models"]["smollm2"]
    return found


@pytest.fixture(scope="module", params=EXACT)
def model(request: pytest.FixtureRequest) -> Iterator[edge.Model]:
    with edge.load(smollm2_gguf(), engine=request.param) as opened:
        yield opened


def test_logits_are_those_of_the_dequantized_weights(model: edge.Model, golden: dict[str, Any]) -> None:
    for prompt in golden["prompts"]:
        logits, wanted = model.logits(prompt["ids"]), prompt["float32"]
        worst = np.abs(logits[-1, wanted["top5_ids"]] - wanted["top5_logits"]).max()
        assert worst <= 1e-3, f"{model.engine} differs by {worst:.2g} after {prompt['prompt']!r}"
        assert logits.argmax(axis=-1).tolist() == wanted["argmax_per_position"], prompt["prompt"]


def test_next_tokens_are_those_of_llama_cpp_at_nine_of_ten_positions(model: edge.Model, golden: dict[str, Any]) -> None:
    same = [
        one == other
        for prompt in golden["prompts"]
        for one, other in zip(
            model.logits(prompt["ids"]).argmax(axis=-1), prompt["llama_cpp"]["argmax_per_position"], strict=True
        )
    ]
    assert np.mean(same) >= 0.9, f"{np.mean(same):.0%} of {len(same)} positions"


def test_texts_have_the_tokens_of_llama_cpp(model: edge.Model, golden: dict[str, Any]) -> None:
    assert model.tokenizer is not None
    for text, ids in golden["tokenizer"]["no_bos"]:
        assert model.tokenizer.rust.encode(text, add_special_tokens=False).ids == ids, text


def test_a_chat_ends_where_the_assistant_has_spoken(model: edge.Model) -> None:
    ids = model.chat_ids([Turn("user", "What is the capital of France? Answer in one sentence.")])
    trace = model.run(ids=ids, max_new_tokens=64)
    assert trace.finish == "stop" and trace.pieces[-1] == "<|im_end|>", trace.text
    assert "Paris" in trace.text


def test_every_matrix_keeps_its_codes() -> None:
    kinds = open_checkpoint(smollm2_gguf()).quantized.kinds
    assert len(kinds) == 211 and set(kinds.values()) == {"Q4_1", "Q8_0"}
