"""Promoted tokens are those whose logits fall when the neurons are ablated; the agreement shows where they are not."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64
from torch import Tensor

import edge
from edge.edits import ScaleNeuron
from edge.insight.ablation import TOKENS as TOKENS_KEPT
from edge.insight.ablation import TOP, Ablation
from edge.insight.neurons import read_neurons, strongest_neurons
from edge.insight.weights import InsightWeights
from edge.measure.correlation import correlation, top_overlap
from edge.session import Model
from edge.watch import Watch
from models.decoder import Decoder
from models.errors import MisuseError
from models.kernels import FullPass
from models.loading import load_decoder
from models.sites import neuron_parts
from models.spec import MoE
from models.zoo import zoo_folder
from tests.edge.wide_gains import TOKENS, VOCAB, wide_gains
from tests.tiny import TINY_SPECS, FakeCheckpoint, tiny_weights

AGREE = 0.6 * TOP
"""Words of the top 50 that must be common; chance is 50² / 1,500 = 1.7."""


def ablation(model: Model, ids: list[int], token: int) -> Ablation:
    trace = model.run(ids=ids, max_new_tokens=0, watch=Watch(parts=neuron_parts(model.spec)))
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
    direct = found.direct
    assert direct.overlap >= AGREE, f"{name}: of the top {TOP} tokens {direct.overlap:.1f} fall most"
    assert direct.r > 0.9 and abs(direct.others_r) < 0.6, f"{name}: {found}"


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
        listed = read_neurons(ablating.trace, weights, last, TOKENS - 1, k=8, promoted=5)
        scores = ablating.read(last, [memory.neuron for memory in listed])
    for memory, row in zip(listed, scores, strict=True):
        want = tuple(f"<{id}>" for id in np.argsort(-row, kind="stable")[:5])
        assert memory.promoted_tokens == want, f"memory {memory.neuron} with {memory.coefficient:.2f} promotes {want}"


def test_an_effect_is_the_change_of_the_engine_s_own_logits() -> None:
    name, ids = "llama-one-kv-head-odd-sizes", [3, 1, 41, 59, 26]
    spec = TINY_SPECS[name]
    with Model(FakeCheckpoint(spec, tiny_weights(spec, 0), name=name), "torch", 1, lambda _: None) as model:
        ablating = ablation(model, ids, 3)
        for layer in range(spec.n_layers):
            plain, without = (model.logits(ids[:4], edits)[3] for edits in ((), (ScaleNeuron(layer, 5, 0.0, (3,)),)))
            np.testing.assert_allclose(ablating.measured(layer, [5])[0], plain - without, atol=2e-5)


def derivative(decoder: Decoder, ids: list[int], layer: int, neuron: int) -> Float64[np.ndarray, " vocab"]:
    """The derivative of each logit at the last token, before a cap, by the factor of a neuron: autograd, in float64."""
    kind, edit = decoder.spec.layers[layer].ffn, ScaleNeuron(layer, neuron, 0.0).within(decoder.spec)
    assert isinstance(edit, ScaleNeuron)
    place, expert, column = edit.site, 0, edit.neuron
    if isinstance(kind, MoE) and place.endswith("ffn.neurons"):
        expert, column = divmod(edit.neuron, kind.expert.d_ff)
    weight = decoder.embed.weight if decoder.head.weight is None else decoder.head.weight

    def width(factor: Tensor) -> Tensor:
        def see(site: str, value: Tensor, rows: Tensor | None = None) -> Tensor:
            if site != place or (rows is not None and expert not in rows[-1]):
                return value
            at = [len(ids) - 1, *([] if rows is None else [int((rows[-1] == expert).nonzero())]), column]
            return value * torch.ones_like(value).index_put(tuple(map(torch.tensor, at)), factor)

        positions = torch.arange(len(ids))
        return decoder.head.read(decoder.stream(torch.tensor(ids), positions, FullPass(len(ids)), see)[-1:])[0]

    one = torch.ones((), dtype=torch.float64)
    by_factor: Tensor = torch.autograd.functional.jacobian(width, one)  # type: ignore[no-untyped-call]
    return np.asarray((weight @ by_factor).numpy())


@pytest.mark.parametrize("name", TINY_SPECS)
def test_the_first_order_effect_is_the_derivative_of_the_logits_through_later_layers(name: str) -> None:
    with ablated(name) as (checkpoint, ablating):
        decoder, ids = load_decoder(checkpoint).double(), list(ablating.trace.tokens[:TOKENS])
        for layer in range(checkpoint.spec.n_layers):
            neurons = ablating.strongest(layer, 2)
            want = np.stack([derivative(decoder, ids, layer, neuron) for neuron in neurons])
            found = ablating.first_order(layer, neurons)
            error = np.linalg.norm(found - want, axis=-1) / np.linalg.norm(want, axis=-1)
            assert error.max() < 0.1, f"{name}, layer {layer}: {error} of the derivative"
            assert correlation(found, want).min() > 0.99, f"{name}, layer {layer}"


@pytest.mark.parametrize("name", TINY_SPECS)
def test_tokens_promoted_through_later_layers_fall_without_the_neuron_in_every_layer(name: str) -> None:
    """Where later layers are less linear, the agreement is lower, but higher than that of the direct tokens."""
    with ablated(name) as (checkpoint, ablating):
        found = [ablating.agreement(layer) for layer in range(checkpoint.spec.n_layers)]
    for one in found:
        through, direct = one.through, one.direct
        assert through.overlap > direct.overlap and through.r > direct.r, f"{name}, layer {one.layer}: {through}"
        assert through.r > abs(through.others_r) + 0.5, f"{name}, layer {one.layer}: {through}"
    overlap = np.mean([one.through.overlap for one in found])
    assert overlap >= AGREE, f"{name}: of the top {TOP} tokens {overlap:.1f} fall most"


def test_the_tokens_that_are_kept_are_the_extremes_of_both_effects() -> None:
    with ablated("llama-one-kv-head-odd-sizes") as (_, ablating):
        found, neurons = ablating.agreement(0, neurons=2), ablating.strongest(0, 2)
        effects = (ablating.first_order(0, neurons), ablating.measured(0, neurons))
    for kept, rows in zip((found.promoted_tokens, found.falling_tokens), effects, strict=True):
        for neuron, row in zip(neurons, rows, strict=True):
            want = tuple(f"<{id}>" for id in np.argsort(-row, kind="stable")[:TOKENS_KEPT])
            assert kept[neuron] == want, f"neuron {neuron}: {kept[neuron]} are not {want}"


def test_an_edited_run_is_refused() -> None:
    with ablated("neox-full-rotary-relu") as (_, ablating):
        ablating.trace = replace(ablating.trace, edits=("neuron 0.3 ablated",))
        with pytest.raises(MisuseError, match=r"was edited \(neuron 0.3 ablated\)"):
            ablating.agreement(1)


def test_neurons_that_are_never_active_cannot_be_ablated() -> None:
    name = "neox-full-rotary-relu"
    spec = TINY_SPECS[name]
    off: dict[str, Any] = {"layers.0.ffn.up.bias": np.full(spec.layers[0].ffn.d_ff, -50, np.float32)}
    checkpoint = FakeCheckpoint(spec, tiny_weights(spec, 0) | off, name=name)
    refused = pytest.raises(MisuseError, match="no neuron of layer 0 is active at token 2")
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
    overlap, r, others = (np.mean([getattr(one.direct, part) for one in last]) for part in ("overlap", "r", "others_r"))
    assert overlap >= AGREE, f"{name}: of the top {TOP} words {overlap:.1f} fall most"
    assert r > others + 0.5, f"{name}: r is {r:.2f}, and {others:.2f} with what other neurons take away"
    assert r > np.mean([one.direct.r for one in first]), f"{name}: the first layer is read as well as the last: {first}"
    for one in (*first, *last):
        assert one.through.overlap >= AGREE, f"{name}: through later layers {one.through} at layer {one.layer}"
