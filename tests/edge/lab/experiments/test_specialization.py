"""A5 distinguishes heads that differ from heads that are equal, and finds what they copy."""

from dataclasses import replace

import numpy as np
import pytest

from edge.lab.effect import Verdict
from edge.lab.experiments.ov_copying import folded_heads, layer_scores, ov_scores
from edge.lab.experiments.specialization import across_bits, consistent, mean_pair_bits, measure
from edge.readout import open_output_projection
from tests.edge.lab.contexts import tiny_lab
from tests.tiny import TINY_SPECS, tiny_weights

NAME = "neox-full-rotary-relu"


def one_hot(places: np.ndarray, past: int) -> np.ndarray:
    return np.asarray(np.eye(past, dtype=np.float32)[places])


def test_heads_that_attend_to_other_keys_differ_by_1_bit_and_are_like_themselves_on_every_text() -> None:
    here, before = np.arange(6), np.maximum(np.arange(6) - 1, 0)
    window = np.stack([one_hot(here, 6), one_hot(before, 6)])
    assert mean_pair_bits(window) == pytest.approx(1.0)
    bits = across_bits(window, window)
    np.testing.assert_allclose(bits, [[0, 0], [1, 1]], atol=1e-6)
    assert consistent(bits).all(), "heads that never change were not recognized"


def test_heads_that_are_drawn_anew_are_no_nearer_to_themselves() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.dirichlet(np.full(12, 0.3), (16, 40)).astype(np.float32) for _ in range(2))
    bits = across_bits(first, second)
    assert bits[0].mean() == pytest.approx(bits[1:].mean(), rel=0.03), "chance tells a head from another"
    assert consistent(bits).mean() < 0.4, "heads drawn anew were recognized more often than by chance"
    assert not consistent(np.zeros((3, 4))).any(), "equal heads were recognized"


def test_heads_with_the_same_weights_do_not_differ() -> None:
    weights = tiny_weights(TINY_SPECS[NAME], 0)
    alike = {}
    for key, value in weights.items():
        if ".attn.query." in key or ".attn.key." in key:
            alike[key] = np.concatenate([value[:16]] * 2)
    with tiny_lab(NAME, alike) as lab:
        finding = measure(lab)
    found = {number.key: number for number in finding.numbers}
    assert found["head_divergence_bits"].value == pytest.approx(0.0, abs=1e-6)
    other = found["other_head_divergence_bits"]
    assert other.value == pytest.approx(other.baseline, abs=1e-6)
    assert finding.verdict is Verdict.NOT_SUPPORTED, "equal heads passed for specialists"


def test_a_head_that_writes_the_vector_of_what_it_reads_copies_in_full() -> None:
    vectors = np.eye(6, 10, dtype=np.float32)
    value = np.eye(6, dtype=np.float32)[:, None]
    out = np.stack([vectors, np.roll(vectors, 1, axis=0)])
    scores = layer_scores(value, out, vectors)
    np.testing.assert_allclose(scores, [1, -1], atol=1e-6, err_msg="a copier and one that writes another token")


def test_what_a_gain_does_to_written_vectors_is_no_copying() -> None:
    """A head that writes the vectors of what it reads divided by the gains of the norms on the way copies in full."""
    with tiny_lab("norms-around-caps") as lab:
        spec, readout, projection = (
            lab.spec,
            lab.readout,
            open_output_projection(lab.model.checkpoint, 0, "attn"),
        )
        attention = spec.layers[0].attention
        ids, size = np.arange(6), attention.head_dim
        table = np.linalg.qr(np.random.default_rng(0).standard_normal((spec.d_model, size)))[0].T.astype(np.float32)
        matrix = np.tile((table / (readout.norm.gain * projection.after.gain)).T, spec.n_heads)
        projection = replace(projection, matrix=np.asarray(matrix, np.float32))
        readout = replace(readout, weight=table, bias=np.zeros(size, np.float32))
        value = np.eye(size, dtype=np.float32)[:6, None].repeat(attention.n_kv_heads, axis=1)
        scores = layer_scores(value, folded_heads(readout, projection, attention), table[ids])
    np.testing.assert_allclose(scores, np.ones(spec.n_heads), atol=1e-5)


def test_random_weights_copy_no_more_than_by_chance() -> None:
    with tiny_lab(NAME) as lab:
        own, chance = ov_scores(lab).mean(), ov_scores(lab, shuffled=True).mean()
    assert own == pytest.approx(2 / 25 - 1, abs=0.04), "chance is 2 / n - 1"
    assert chance == pytest.approx(2 / 25 - 1, abs=0.04)
