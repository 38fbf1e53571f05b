"""What holds on a published model, SmolLM2 135M Instruct, as it holds on the models made for tests."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import edge
from edge.edits import ScaleNeuron
from edge.insight.ablation import TOP, Ablation, Agreement
from edge.insight.weights import InsightWeights
from models.chat import Turn
from tests.real import smollm2
from tests.shared import shared


@pytest.fixture(scope="module")
def folder() -> Path:
    return smollm2()


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[edge.Model]:
    with edge.load(folder, engine="torch") as model:
        yield model


def test_its_tokenizer_is_the_published_one(model: edge.Model) -> None:
    golden = json.loads(shared("gguf_golden.json").read_text(encoding="utf8"))["models"]["smollm2"]
    for text, ids in golden["tokenizer"]["no_bos"]:
        assert model.tokenizer.rust.encode(text, add_special_tokens=False).ids == ids, text


def test_logits_are_those_of_transformers(model: edge.Model, folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    ids = model.tokenizer.encode("The capital of France is Paris. Once upon a time, in 1992, there were two")
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        wanted = theirs(torch.tensor([ids])).logits[0].numpy()
    assert np.abs(model.logits(ids) - wanted).max() <= 1e-3


def test_a_chat_ends_where_the_assistant_has_spoken(model: edge.Model) -> None:
    ids = model.chat_ids([Turn("user", "What is the capital of France? Answer in one sentence.")])
    trace = model.run(ids=ids, max_new_tokens=64)
    assert trace.finish == "stop", trace.text
    assert trace.pieces[-1] == "<|im_end|>"
    assert "Paris" in trace.text


def agreements(model: edge.Model, layer: int, tokens: tuple[int, ...]) -> list[Agreement]:
    """The 8 neurons of a layer that write most at each token, ablated there one at a time."""
    ids = model.tokenizer.encode("The capital of France is Paris. The capital of Japan is Tokyo. She opened the door")
    trace = model.run(ids=ids, max_new_tokens=0, watch=edge.Watch(parts=("ffn.neurons",)))
    weights = InsightWeights(model.checkpoint, model.tokenizer.piece)

    def run(ids: list[int], edits: tuple[ScaleNeuron, ...], watch: edge.Watch) -> edge.Trace:
        return model.run(ids=ids, max_new_tokens=0, edits=edits, watch=watch)

    return [Ablation(trace, weights, token, run).agreement(layer) for token in tokens]


def test_tokens_that_neurons_of_the_last_layer_promote_are_those_that_fall_without_them(model: edge.Model) -> None:
    found = [one.direct for one in agreements(model, model.spec.n_layers - 1, (5, 11, 16))]
    overlap, r = (np.mean([getattr(one, part) for one in found]) for part in ("overlap", "r"))
    assert overlap >= 0.6 * TOP, f"of the top {TOP} tokens {overlap:.1f} fall most"
    assert r >= 0.9, f"r is {r:.2f}"


@pytest.mark.parametrize("layer", [23, 26, 28])
def test_below_the_last_layer_tokens_promoted_through_later_layers_fall(model: edge.Model, layer: int) -> None:
    """The list that the FFN view shows after `m`; the direct list is of other tokens there."""
    found = agreements(model, layer, (11,))
    overlap, r = (np.mean([getattr(one.through, part) for one in found]) for part in ("overlap", "r"))
    assert overlap >= 0.6 * TOP, f"of the top {TOP} tokens {overlap:.1f} fall most"
    assert r >= 0.9, f"r is {r:.2f}"
    assert all(one.direct.is_poor and not one.through.is_poor for one in found), f"{found}"


def test_in_the_middle_of_the_stack_the_direct_tokens_are_others_and_it_is_said(model: edge.Model) -> None:
    """Later layers make something else of what these neurons write."""
    (found,) = agreements(model, model.spec.n_layers // 2, (16,))
    assert found.direct.is_poor and abs(found.direct.r) < 0.3, f"{found}"
    assert not found.through.is_poor and found.through.r > 0.9, f"{found}"
