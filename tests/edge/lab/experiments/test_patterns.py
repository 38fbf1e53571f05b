"""Laws of what experiments on attention share."""

import numpy as np
import pytest

from edge.lab.experiments.patterns import by_head, layer_patterns, pairs_of_windows, read_values, uniform_pattern
from edge.measure.attention import entropy_bits, mean_distance
from models.spec import Full, Sliding
from tests.edge.lab.contexts import tiny_lab


def test_an_even_head_gives_every_visible_key_the_same() -> None:
    look = uniform_pattern(6, Full())
    np.testing.assert_allclose(entropy_bits(look), np.log2(np.arange(1, 7)), atol=1e-6)
    np.testing.assert_allclose(mean_distance(look), np.arange(6) / 2, atol=1e-6)
    near = uniform_pattern(6, Sliding(2))
    np.testing.assert_allclose(near[3], [0, 0, 0.5, 0.5, 0, 0], err_msg="a key beyond the reach was looked at")


def test_heads_read_the_values_that_they_share() -> None:
    rng = np.random.default_rng(0)
    patterns, value = rng.random((4, 5, 5)), rng.standard_normal((5, 2, 3))
    got = read_values(patterns, value)
    for head in range(4):
        np.testing.assert_allclose(got[:, head], patterns[head] @ value[:, head // 2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["llama-shared-heads-tied", "norms-around-caps"])
def test_rows_of_each_head_write_together_what_the_whole_matrix_writes(name: str) -> None:
    with tiny_lab(name) as lab:
        matrix = np.asarray(lab.model.checkpoint.weights["layers.0.attn.out.weight"])
        heads = lab.traces[0].site("layers.0.attn.heads")
        joined = heads.reshape(len(heads), -1) @ matrix.T
        np.testing.assert_allclose(np.einsum("thd,hdm->tm", heads, by_head(matrix, lab.spec)), joined, atol=1e-4)


def test_a_text_of_one_window_is_compared_half_with_half() -> None:
    with tiny_lab("llama-shared-heads-tied", tokens=20) as lab:
        [(first, second)] = pairs_of_windows(lab)
        assert first.tokens + second.tokens == lab.passage, "halves do not make up the text"
        whole = layer_patterns(lab.traces[0], 1)[:, :10, :10]
        np.testing.assert_allclose(layer_patterns(first, 1), whole, atol=1e-5, err_msg="a look depends on what follows")
