"""What a head copies from a key is its contribution to the logits of a query that attends to nothing else."""

import numpy as np
import pytest

from edge.edits import Ablate, ScaleHead
from edge.insight.ov_circuit import read_ov_circuit
from edge.insight.weights import InsightWeights
from edge.measure.attribution import attribute_heads, read_difference
from edge.session import Model
from edge.watch import Watch
from models.errors import MisuseError
from tests.edge.laws.assertions import tiny_model
from tests.edge.laws.test_every_engine import watched_run
from tests.edge.wide_gains import TOKENS, VOCAB, wide_gains
from tests.tiny import TINY_SPECS, tiny_checkpoint

AS_IT_IS = [
    name
    for name, spec in TINY_SPECS.items()
    if not any(x.norms_after or x.norms_sum or x.attention.sinks for x in spec.layers)
]
"""Decoders whose layers add what attention gives, so that the gain is in logits. A sink takes some of the weight."""

TOP = 50


def label(id: int) -> str:
    return str(id)


@pytest.mark.parametrize("name", AS_IT_IS)
def test_gains_are_the_head_s_direct_attributions_where_it_reads_one_key(name: str) -> None:
    """The first token attends to itself only, with weight 1."""
    with tiny_model(name, "torch") as model:
        trace = watched_run(model, Watch.all())
    weights, vocab = InsightWeights(tiny_checkpoint(name), label), trace.spec.vocab_size
    for layer in range(trace.spec.n_layers):
        reading = read_difference(trace, weights.readout, 17, 4, 0)
        want = attribute_heads(trace, reading, weights.projection(layer, "attn"), layer, 0).logits
        for head in range(trace.spec.n_heads):
            gains = dict(read_ov_circuit(trace, weights, layer, head, 0, 0, k=vocab).raised)
            reported = (gains["17"] or 0.0) - (gains["4"] or 0.0)
            assert reported == pytest.approx(float(want[head]), abs=1e-4), f"layer {layer}, head {head} of {name}"


@pytest.mark.parametrize("name", [name for name, spec in TINY_SPECS.items() if not spec.layers[-1].norms_after])
def test_raised_words_fall_without_the_head_whatever_the_gain(name: str) -> None:
    """A head of the last layer, whose FFN is ablated: it would respond to what the head adds.

    A norm of what few heads add divides by something else without one of them, which no linear reading predicts.
    """
    checkpoint, ids = wide_gains(name), np.random.default_rng(0).integers(0, VOCAB, TOKENS).tolist()
    last, weights = checkpoint.spec.n_layers - 1, InsightWeights(checkpoint, label)
    watch, ablated = Watch(parts=("attn.value", "output")), Ablate(f"layers.{last}.ffn")
    with Model(checkpoint, "torch", 1, lambda _: None) as model:
        trace = model.run(ids=ids, max_new_tokens=0, watch=watch)
        met = []
        for head in range(checkpoint.spec.n_heads):
            streams = [
                model.run(ids=ids[:1], max_new_tokens=0, watch=watch, edits=edits).row(f"layers.{last}.output", 0)
                for edits in ((ablated,), (ablated, ScaleHead(last, head, 0.0)))
            ]
            kept, without = (weights.readout.uncapped_logits(stream)[0] for stream in streams)
            fallen = {str(id) for id in np.argsort(without - kept)[:TOP]}
            met.append(
                len(fallen & {word for word, _ in read_ov_circuit(trace, weights, last, head, 0, 0, TOP).raised})
            )
    assert np.mean(met) >= 0.6 * TOP, f"{name}: of the {TOP} words that each head raises, {met} fall most without it"


def test_a_head_that_copies_ranks_the_key_s_own_word_first() -> None:
    name = "neox-full-rotary-relu"
    with tiny_model(name, "torch") as model:
        trace = watched_run(model, Watch.all())
    found = read_ov_circuit(trace, InsightWeights(tiny_checkpoint(name), label), 1, 0, 5, 3, k=trace.spec.vocab_size)
    words = [word for word, _ in found.raised]
    assert found.own_rank == words.index(str(trace.tokens[3])), "the rank is another one than the place in the list"


def test_where_a_norm_divides_the_attention_output_no_gain_is_shown() -> None:
    with tiny_model("norms-around-caps", "torch") as model:
        trace = watched_run(model, Watch.all())
    weights = InsightWeights(tiny_checkpoint("norms-around-caps"), label)
    assert all(gain is None for _, gain in read_ov_circuit(trace, weights, 0, 0, 3, 1).raised)


def test_a_run_that_did_not_watch_the_last_output_is_refused() -> None:
    with tiny_model("llama-shared-heads-tied", "torch") as model:
        trace = model.run(ids=[1, 2, 3], max_new_tokens=0, watch=Watch(parts=("attn.value",)))
    with pytest.raises(MisuseError, match="was not recorded"):
        read_ov_circuit(trace, InsightWeights(tiny_checkpoint("llama-shared-heads-tied"), label), 0, 0, 2, 1)
