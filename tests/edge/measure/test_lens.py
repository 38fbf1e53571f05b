"""Laws of the logit lens: what holds for every prediction, and for every residual stream."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.measure import lens
from edge.measure.lens import (
    convergence_layer,
    kl_to_final_bits,
    logit_lens,
    prediction_entropy_bits,
    rank_of,
    top_tokens,
)
from edge.readout import NormWeights, Readout, open_readout
from models.spec import NoCap, NoNorm
from tests.tiny import TINY_SPECS, tiny_checkpoint

few = settings(max_examples=50)
seeds = st.integers(0, 2**16)
sizes = st.integers(1, 9)


def some_logits(seed: int, tokens: int, vocab: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((tokens, vocab), np.float32) * 4


def identity_readout(size: int) -> Readout:
    """The residual stream is the logits."""
    zeros = np.zeros(size, np.float32)
    return Readout(NormWeights(NoNorm(), zeros + 1, zeros), None, np.eye(size, dtype=np.float32), zeros, NoCap())


def test_an_even_answer_has_all_the_bits_and_a_sure_one_none() -> None:
    sure = np.zeros((1, 8), np.float32)
    sure[0, 3] = 1e4
    assert prediction_entropy_bits(np.zeros((1, 8), np.float32)) == pytest.approx(3.0)
    assert prediction_entropy_bits(sure)[0] == 0, "an answer that names one id alone is undecided"


def test_half_against_half_is_one_bit_from_sure() -> None:
    sure, half = np.array([[0.0, -1e4]], np.float32), np.zeros((1, 2), np.float32)
    assert kl_to_final_bits(half, sure)[0] == pytest.approx(1.0), "log2(1 / 0.5) is one bit"


def test_the_most_probable_ids_come_first_and_equal_ones_in_the_order_of_ids() -> None:
    logits = np.log(np.array([[0.1, 0.4, 0.1, 0.3, 0.1]], np.float32))
    ids, probabilities = top_tokens(logits, 4)
    assert ids.tolist() == [[1, 3, 0, 2]]
    assert probabilities[0] == pytest.approx([0.4, 0.3, 0.1, 0.1], rel=1e-6)


def test_ids_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="top 6 of 5"):
        top_tokens(np.zeros((1, 5), np.float32), 6)
    with pytest.raises(ValueError, match="name 0 to 4"):
        rank_of(np.zeros((1, 5), np.float32), np.array([5]))


@few
@given(seed=seeds, tokens=sizes, vocab=sizes)
def test_a_rank_is_the_place_in_the_list_of_top_tokens(seed: int, tokens: int, vocab: int) -> None:
    logits = some_logits(seed, tokens, vocab)
    ids, probabilities = top_tokens(logits, vocab)
    for place in range(vocab):
        found = rank_of(logits, ids[:, place])
        assert (found == place).all(), f"the id at place {place} of the list has rank {found}"
    assert np.allclose(probabilities.sum(-1), 1, atol=1e-5), "all probabilities together are not 1"
    assert (np.diff(probabilities, axis=-1) <= 0).all(), "a less likely id stands before a likelier one"


@few
@given(seed=seeds, tokens=sizes, vocab=st.integers(2, 9), shift=st.floats(-50, 50, width=32))
def test_what_is_added_to_all_logits_changes_no_answer(seed: int, tokens: int, vocab: int, shift: float) -> None:
    logits, final = some_logits(seed, tokens, vocab), some_logits(seed + 1, tokens, vocab)
    moved = logits + np.float32(shift)
    assert np.allclose(prediction_entropy_bits(moved), prediction_entropy_bits(logits), atol=1e-3)
    assert np.allclose(kl_to_final_bits(moved, final), kl_to_final_bits(logits, final), atol=1e-3)


@few
@given(seed=seeds, tokens=sizes, vocab=sizes)
def test_entropy_and_distance_keep_to_their_ranges(seed: int, tokens: int, vocab: int) -> None:
    logits, final = some_logits(seed, tokens, vocab), some_logits(seed + 1, tokens, vocab)
    bits = prediction_entropy_bits(logits)
    assert (bits >= 0).all() and (bits <= np.log2(vocab) + 1e-5).all(), f"{bits} bits between {vocab} ids"
    assert (kl_to_final_bits(logits, final) >= 0).all(), "an answer is less than nothing from the last one"
    assert (kl_to_final_bits(final, final) == 0).all(), "an answer differs from itself"


@few
@given(seed=seeds, tokens=sizes, vocab=st.integers(2, 9))
def test_names_of_ids_do_not_matter(seed: int, tokens: int, vocab: int) -> None:
    logits, final = some_logits(seed, tokens, vocab), some_logits(seed + 1, tokens, vocab)
    order = np.random.default_rng(seed).permutation(vocab)
    assert np.allclose(prediction_entropy_bits(logits[:, order]), prediction_entropy_bits(logits), atol=1e-5)
    assert np.allclose(kl_to_final_bits(logits[:, order], final[:, order]), kl_to_final_bits(logits, final), atol=1e-4)


def test_an_answer_converges_where_it_changes_for_the_last_time() -> None:
    top1 = np.array([[7, 1, 5, 5], [7, 5, 1, 5], [7, 5, 5, 5], [7, 5, 5, 2]])
    assert convergence_layer(top1).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="no layer"):
        convergence_layer(np.zeros((0, 3), np.int64))


@few
@given(seed=seeds, layers=st.integers(1, 6), tokens=sizes)
def test_from_the_convergence_layer_on_nothing_changes(seed: int, layers: int, tokens: int) -> None:
    top1 = np.random.default_rng(seed).integers(0, 3, (layers, tokens))
    for token, layer in enumerate(convergence_layer(top1)):
        assert (top1[layer:, token] == top1[-1, token]).all(), f"token {token} changes after layer {layer}"
        assert layer == 0 or top1[layer - 1, token] != top1[-1, token], f"token {token} converged before {layer}"


@few
@given(seed=seeds, layers=st.integers(1, 4), tokens=st.integers(0, 7), block=st.integers(1, 3))
def test_blocks_of_rows_change_nothing(seed: int, layers: int, tokens: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    streams = [rng.standard_normal((tokens, 5), np.float32) for _ in range(layers)]
    targets, read = rng.integers(0, 5, tokens), identity_readout(5)
    whole = logit_lens(streams, read, targets, k=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lens, "_BLOCK", 5 * block)
        parts = logit_lens(streams, read, targets, k=3)
    for name in ("ids", "probabilities", "rank", "entropy_bits", "kl_to_final_bits"):
        got, want = getattr(parts, name), getattr(whole, name)
        assert got.shape == want.shape and np.allclose(got, want, atol=1e-6), f"blocks of {block} rows change {name}"
    assert whole.ids.shape == (layers, tokens, 3)


def test_the_last_layer_is_where_the_lens_ends() -> None:
    rng = np.random.default_rng(0)
    streams = [rng.standard_normal((4, 6), np.float32) for _ in range(3)]
    found = logit_lens(streams, identity_readout(6), streams[-1].argmax(-1), k=1)
    assert (found.rank[-1] == 0).all(), "the last layer's likeliest id is not the likeliest"
    assert (found.kl_to_final_bits[-1] == 0).all(), "the last layer is at a distance from itself"
    assert (found.convergence_layer <= 2).all()


def test_a_lens_on_no_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="no residual streams"):
        logit_lens([], identity_readout(6), np.zeros(3, np.int64))


@pytest.mark.parametrize("name", TINY_SPECS)
def test_the_norm_forgets_how_long_the_stream_is(name: str) -> None:
    """Layers write vectors of very different lengths; the lens norms each by its own, so their answers compare."""
    checkpoint = tiny_checkpoint(name)
    if isinstance(checkpoint.spec.norm, NoNorm):
        pytest.skip("this head reads the residual stream as it is")
    x = np.random.default_rng(0).standard_normal((3, checkpoint.spec.d_model), np.float32) * 10
    read = open_readout(checkpoint)
    worst = float(np.abs(read.logits(8 * x) - read.logits(x)).max())
    assert worst < 1e-4, f"eight times the stream moves a logit by {worst:.2g}"
