"""Laws of what is read of one FFN at one token, on tiny decoders of every kind and on a bundled model."""

from dataclasses import replace

import numpy as np
import pytest

import edge
from edge.edits import ScaleNeuron
from edge.insight.neurons import neurons_at, read_cett, read_coefficients, read_neurons
from edge.insight.prediction_change import read_ffn_change, read_run_change
from edge.insight.weights import InsightWeights
from edge.measure.sparsity import cett, cett_sparsity
from edge.trace import Trace
from edge.watch import Watch
from models.errors import MisuseError
from models.sites import layer_site
from models.zoo import zoo_folder
from tests.edge.laws.assertions import CLOSE, off_by, tiny_model
from tests.edge.laws.test_every_engine import watched_run
from tests.tiny import TINY_SPECS, tiny_checkpoint

PLAIN, GATED, NORMED, SUMMED = (
    "neox-full-rotary-relu",
    "llama-shared-heads-tied",
    "norms-around-caps",
    "normed-sums-projected-embedding-tied",
)


def run_of(name: str) -> tuple[Trace, InsightWeights]:
    with tiny_model(name, "torch") as model:
        return watched_run(model, Watch.all()), InsightWeights(tiny_checkpoint(name), "<{}>".format)


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(shares / shares.sum())


@pytest.mark.parametrize("name", TINY_SPECS)
def test_all_neurons_together_sum_to_the_ffn_output(name: str) -> None:
    trace, weights = run_of(name)
    for layer in range(trace.spec.n_layers):
        token = 7
        projection = weights.projection(layer, "ffn").at(trace.given(layer, token))
        output = trace.site(layer_site(layer, "ffn.output"))[token]
        neurons = neurons_at(trace, layer, token)
        after, before = projection.after, projection(neurons[None])
        # A memory alone, through the norm whose statistics are those of all of them.
        alone = after.centered(neurons[:, None] * projection.matrix.T) * after.gain / after.scale(before)
        constant = after.centered(projection.bias) * after.gain / after.scale(before) + after.shift
        worst = off_by(alone.sum(axis=0) + constant, output)
        assert worst < CLOSE, (
            f"{name}: the memories of layer {layer} do not sum to its FFN's output, off by {worst:.2g}"
        )
        lengths = np.linalg.norm(alone, axis=-1)
        for memory in read_neurons(trace, weights, layer, token, k=len(neurons)):
            assert memory.coefficient == pytest.approx(float(neurons[memory.neuron]), rel=1e-6)
            assert memory.norm == pytest.approx(float(lengths[memory.neuron]), rel=1e-4), f"{name}: {memory}"


@pytest.mark.parametrize("name", TINY_SPECS)
def test_the_strongest_neurons_come_first_and_promote_what_their_vectors_score_highest(name: str) -> None:
    trace, weights = run_of(name)
    layer, token, readout = trace.spec.n_layers - 1, 4, weights.readout
    found = read_neurons(trace, weights, layer, token, k=6, promoted=3)
    adds = [memory.norm or 0.0 for memory in found]
    assert adds == sorted(adds, reverse=True) and len(found) == 6, f"not the strongest first: {adds}"
    projection = weights.projection(layer, "ffn")
    for memory in found:
        written = projection.matrix[:, memory.neuron].astype(np.float64)
        for norm in (projection.after, *projection.sums, readout.norm):
            written = norm.centered(written) * norm.gain
        scores = readout.weight @ (written if readout.project is None else readout.project @ written)
        order = np.argsort(-scores * np.sign(memory.coefficient), kind="stable")[:3]
        want = tuple(f"<{id}>" for id in order)
        assert memory.promoted_tokens == want, (
            f"{name}: memory {memory.neuron} promotes {want}, told {memory.promoted_tokens}"
        )


def test_an_inactive_neuron_is_listed_only_on_request_and_has_no_promoted_tokens() -> None:
    trace, weights = run_of(PLAIN)
    neurons = neurons_at(trace, 1, 5)
    inactive = int(np.flatnonzero(neurons == 0)[0])
    found = read_neurons(trace, weights, 1, 5, k=len(neurons))
    assert len(found) == int((neurons != 0).sum()), "silent neurons are among the strongest memories"
    asked = read_neurons(trace, weights, 1, 5, k=4, also=(inactive, found[0].neuron))
    assert [memory.neuron for memory in asked] == [*(memory.neuron for memory in found[:4]), inactive]
    assert asked[-1].coefficient == 0 and asked[-1].norm == 0 and asked[-1].promoted_tokens == ()


def test_an_ffn_without_active_neurons_lists_none() -> None:
    trace, weights = run_of(PLAIN)
    site = layer_site(0, "ffn.neurons")
    inactive = replace(trace, sites=trace.sites | {site: np.zeros_like(trace.sites[site])})
    assert read_neurons(inactive, weights, 0, 3) == ()
    assert read_coefficients(inactive, 0, 3) == ()


def test_without_weights_neurons_rank_by_their_coefficients() -> None:
    trace, _ = run_of(GATED)
    found, neurons = read_coefficients(trace, 0, 3, k=5, also=(2,)), neurons_at(trace, 0, 3)
    want = sorted(range(len(neurons)), key=lambda neuron: -abs(neurons[neuron]))[:5]
    assert [memory.neuron for memory in found][:5] == want
    assert all(memory.norm is None and memory.promoted_tokens == () for memory in found)


@pytest.mark.parametrize("name", [PLAIN, GATED, NORMED])
def test_cett_is_measured_on_what_the_down_projection_writes(name: str) -> None:
    trace, weights = run_of(name)
    vectors = np.asarray(weights.checkpoint.weights["layers.1.ffn.down.weight"], np.float32).T
    found = read_cett(trace, weights, 1)
    np.testing.assert_array_equal(found.share, cett_sparsity(trace.neurons(1), vectors).share)
    error = float(cett(trace.neurons(1), vectors, found.threshold).mean())
    assert error == pytest.approx(found.error, abs=1e-5) and error <= 0.2, f"{name}: mean error {error}"


@pytest.mark.parametrize("name", [name for name in TINY_SPECS if name != SUMMED])
def test_before_and_after_an_ffn_are_the_lens_on_the_stream_around_it(name: str) -> None:
    trace, weights = run_of(name)
    for layer, kind in enumerate(trace.spec.layers):
        token = 6
        found = read_ffn_change(trace, weights, layer, token, k=4)
        x, attention, ffn, output = (
            trace.site(layer_site(layer, part))[token] for part in ("input", "attn.output", "ffn.output", "output")
        )
        assert off_by(x + attention + ffn, output) < CLOSE, f"{name}: layer {layer} is {kind.residual}"
        before = softmax(weights.readout.logits((x + attention)[None])[0])
        after = softmax(weights.readout.logits(output[None])[0])
        listed = {word.id for word in found.tokens}
        for answer in (before, after):
            assert set(np.argsort(-answer)[:4].tolist()) <= listed, f"{name}: a likely word is missing, layer {layer}"
        for word in found.tokens:
            assert word.before == pytest.approx(before[word.id], rel=2e-3), f"{name}, before: {word}"
            assert word.after == pytest.approx(after[word.id], rel=2e-3), f"{name}, after: {word}"
        falling = [word.after for word in found.tokens]
        assert falling == sorted(falling, reverse=True), "not the likeliest after it first"
        difference = float((after * np.log2(after / before)).sum())
        assert found.bits == pytest.approx(difference, rel=1e-2, abs=1e-5)


def test_a_stream_that_is_normed_after_the_sum_has_no_before() -> None:
    trace, weights = run_of(SUMMED)
    with pytest.raises(MisuseError, match="norms the residual stream after its FFN"):
        read_ffn_change(trace, weights, 0, 3)


@pytest.mark.parametrize("name", [PLAIN, SUMMED])
def test_the_answer_without_a_neuron_is_the_model_s_own(name: str) -> None:
    edits = (ScaleNeuron(0, 3, 0.0), ScaleNeuron(1, 5, 0.0))
    with tiny_model(name, "torch") as model:
        trace = watched_run(model, Watch.all())
        ids = list(trace.tokens[: trace.n_fed])
        edited = model.run(ids=ids, max_new_tokens=0, watch=Watch.all(), edits=edits)
        plain, without = softmax_rows(model.logits(ids)), softmax_rows(model.logits(ids, edits))
    weights = InsightWeights(tiny_checkpoint(name), "<{}>".format)
    for token in (0, 5, trace.n_fed - 1):
        for word in read_run_change(trace, weights, edited, weights, token).tokens:
            assert word.before == pytest.approx(plain[token, word.id], rel=2e-3), f"token {token}, before: {word}"
            assert word.after == pytest.approx(without[token, word.id], rel=2e-3), f"token {token}, after: {word}"


def softmax_rows(logits: np.ndarray) -> np.ndarray:
    return np.stack([softmax(row) for row in logits])


@pytest.mark.skipif(zoo_folder("fable-relu") is None, reason="the zoo is not here")
def test_a_neuron_ablated_in_a_bundled_model_gives_the_engine_s_logits() -> None:
    with edge.load("fable-relu", "onnx", threads=1) as model:
        trace = model.run("Once upon a time there was a king who had", max_new_tokens=4, watch=Watch.all())
        ids, weights = list(trace.tokens[: trace.n_fed]), InsightWeights(model.checkpoint, "<{}>".format)
        token, layer = trace.n_fed - 1, model.spec.n_layers - 1
        strongest = read_neurons(trace, weights, layer, token)[0].neuron
        edit = ScaleNeuron(layer, strongest, 0.0)
        edited = model.run(ids=ids, max_new_tokens=0, watch=Watch.all(), edits=(edit,))
        want = softmax(model.logits(ids, edits=[edit])[token])
    shift = read_run_change(trace, weights, edited, weights, token)
    assert shift.bits > 0, f"neuron {strongest}, the strongest memory of layer {layer}, changes nothing"
    assert {int(want.argmax())} <= {word.id for word in shift.tokens}
    for word in shift.tokens:
        assert word.after == pytest.approx(want[word.id], rel=1e-3), f"without neuron {strongest}: {word}"


def test_what_cannot_be_compared_or_was_not_watched_is_refused() -> None:
    trace, weights = run_of(PLAIN)
    with pytest.raises(MisuseError, match="token 99 was not fed"):
        read_neurons(trace, weights, 0, 99)
    with pytest.raises(MisuseError, match="token 99 was not fed"):
        read_ffn_change(trace, weights, 0, 99)
    other = replace(trace, tokens=(0, *trace.tokens[1:]))
    with pytest.raises(MisuseError, match="read different tokens"):
        read_run_change(trace, weights, other, weights, 3)
    with pytest.raises(MisuseError, match="vocabularies"):
        read_run_change(trace, weights, replace(trace, spec=replace(trace.spec, vocab_size=9)), weights, 3)
    bare = replace(trace, sites={})
    with pytest.raises(MisuseError, match=r"'layers.0.ffn.neurons' was not recorded"):
        read_neurons(bare, weights, 0, 3)
    with pytest.raises(MisuseError, match="was not recorded"):
        read_ffn_change(bare, weights, 0, 3)
    with pytest.raises(MisuseError, match="fed none"):
        read_cett(replace(trace, n_fed=0), weights, 0)
