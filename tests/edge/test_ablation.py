"""Promoted tokens are those whose logits fall when the neurons are ablated; the agreement shows where they are not."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import edge
from edge.edits import ScaleNeuron
from edge.insight.ablation import TOP, Ablation
from edge.insight.memories import read_memories, strongest_neurons
from edge.insight.weights import InsightWeights
from edge.measure.agreement import top_overlap
from edge.session import Model
from edge.watch import Watch
from models.errors import MisuseError
from models.zoo import zoo_folder
from tests.edge.wide_gains import TOKENS, VOCAB, wide_gains
from tests.tiny import TINY_SPECS, FakeCheckpoint, tiny_weights

AGREE = 0.6 * TOP
"""Words of the top 50 that must be common; chance is 50² / 1,500 = 1.7."""


def ablation(model: Model, ids: list[int], token: int) -> Ablation:
    trace = model.run(ids=ids, max_new_tokens=0, watch=Watch(parts=("ffn.neurons",)))
    return Ablation(
        trace,
        InsightWeights(model.checkpoint, "<{}>".format),
        token,
        lambda ids, edits, watch: model.run(ids=ids, max_new_tokens=0, edits=edits, watch=watch),
    )


@contextmanager
def ablated(name: str) -> Iterator[tuple[FakeCheckpoint, Ablation]]:
    checkpoint, ids = wide_gains(name), np.random.default_rng(0).integers(0, VOCAB, TOKENS).tolist()
    with Model(checkpoint, "torch", 1, lambda _: None) as model:
        yield checkpoint, ablation(model, ids, TOKENS - 1)


@pytest.mark.parametrize("name", TINY_SPECS)
def test_in_the_last_layer_promoted_words_fall_without_the_neuron_whatever_the_gain(name: str) -> None:
    with ablated(name) as (checkpoint, ablating):
        found = ablating.agreement(checkpoint.spec.n_layers - 1)
    assert found.overlap >= AGREE, f"{name}: of the top {TOP} words {found.overlap:.1f} fall most"
    assert found.r > 0.9 and abs(found.others_r) < 0.6, f"{name}: {found}"


@pytest.mark.parametrize("name", TINY_SPECS)
def test_without_the_gains_they_would_be_other_words(name: str) -> None:
    """What makes the law above one about gains: value vectors alone do not meet it."""
    with ablated(name) as (checkpoint, ablating):
        last, weights = checkpoint.spec.n_layers - 1, InsightWeights(checkpoint, "<{}>".format)
        neurons = strongest_neurons(ablating.trace, weights, last, TOKENS - 1, 8)
        coefficients = ablating.trace.neurons(last)[-1, list(neurons), None]
        vectors = coefficients * weights.projection(last, "ffn").matrix.T[list(neurons)]
        bare = weights.readout.in_width(vectors) @ weights.readout.weight.T
        met = top_overlap(bare, ablating.measured(last, neurons), TOP).mean()
    assert met < AGREE / 2, f"{name}: the gains are not wide enough to matter, {met:.1f} of {TOP} words fall most"


def test_the_words_of_the_list_are_those_that_were_compared() -> None:
    with ablated("norms-around-caps") as (checkpoint, ablating):
        last, weights = checkpoint.spec.n_layers - 1, InsightWeights(checkpoint, "<{}>".format)
        listed = read_memories(ablating.trace, weights, last, TOKENS - 1, k=8, words=5)
        scores = ablating.read(last, [memory.neuron for memory in listed])
    for memory, row in zip(listed, scores, strict=True):
        want = tuple(f"<{id}>" for id in np.argsort(-row, kind="stable")[:5])
        assert memory.promotes == want, f"memory {memory.neuron} with {memory.coefficient:.2f} promotes {want}"


def test_an_effect_is_the_change_of_the_engine_s_own_logits() -> None:
    name, ids = "llama-one-kv-head-odd-sizes", [3, 1, 41, 59, 26]
    spec = TINY_SPECS[name]
    with Model(FakeCheckpoint(spec, tiny_weights(spec, 0), name=name), "torch", 1, lambda _: None) as model:
        ablating = ablation(model, ids, 3)
        for layer in range(spec.n_layers):
            plain, without = (model.logits(ids[:4], edits)[3] for edits in ((), (ScaleNeuron(layer, 5, 0.0, (3,)),)))
            np.testing.assert_allclose(ablating.measured(layer, [5])[0], plain - without, atol=2e-5)


def test_an_edited_run_is_refused() -> None:
    with ablated("neox-full-rotary-relu") as (_, ablating):
        ablating.trace = replace(ablating.trace, edits=("neuron 0.3 ablated",))
        with pytest.raises(MisuseError, match=r"was edited \(neuron 0.3 ablated\)"):
            ablating.agreement(1)


def test_neurons_that_never_fire_cannot_be_ablated() -> None:
    name = "neox-full-rotary-relu"
    spec = TINY_SPECS[name]
    off: dict[str, Any] = {"layers.0.ffn.up.bias": np.full(spec.layers[0].ffn.d_ff, -50, np.float32)}
    checkpoint = FakeCheckpoint(spec, tiny_weights(spec, 0) | off, name=name)
    refused = pytest.raises(MisuseError, match="no neuron of layer 0 fired at token 2")
    with Model(checkpoint, "torch", 1, lambda _: None) as model, refused:
        ablation(model, [3, 1, 41], 2).agreement(0)


@pytest.mark.parametrize("name", ["fable-relu", "fable-gelu"])
def test_trained_neurons_of_the_last_layer_promote_what_falls_without_them(name: str) -> None:
    if zoo_folder(name) is None:
        pytest.skip(f"{name} is not here")
    with edge.load(name, "onnx", threads=1) as model:
        assert model.tokenizer is not None
        ids = model.tokenizer.encode("Once upon a time there was a king who had three sons, and the youngest of them")
        at = [ablation(model, ids, token) for token in range(2, len(ids), 2)]
        first = [one.agreement(0) for one in at[::4]]
        last = [one.agreement(model.spec.n_layers - 1) for one in at]
    overlap, r, others = (np.mean([getattr(one, part) for one in last]) for part in ("overlap", "r", "others_r"))
    assert overlap >= AGREE, f"{name}: of the top {TOP} words {overlap:.1f} fall most"
    assert r > others + 0.5, f"{name}: r is {r:.2f}, and {others:.2f} with what other neurons take away"
    assert r > np.mean([one.r for one in first]), f"{name}: the first layer is read as well as the last: {first}"
