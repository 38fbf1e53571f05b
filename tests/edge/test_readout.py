"""A sublayer's contribution is projected through the norms on its way and the head."""

from typing import Literal

import numpy as np
import pytest

from edge.readout import NormWeights, open_output_projection, open_readout
from tests.tiny import TINY_SPECS, tiny_checkpoint

SUBLAYERS: tuple[Literal["attn", "ffn"], ...] = ("attn", "ffn")


def held(norm: NormWeights, x: np.ndarray, part: np.ndarray) -> np.ndarray:
    """What `part` adds to the norm of `x` that divides by the statistics of `x` alone."""
    return np.asarray((norm.centered(x + part) - norm.centered(x)) / norm.scale(x)[:, None] * norm.gain)


@pytest.mark.parametrize("sublayer", SUBLAYERS)
@pytest.mark.parametrize("name", TINY_SPECS)
def test_what_is_folded_is_what_each_norm_and_the_head_make_of_it(name: str, sublayer: Literal["attn", "ffn"]) -> None:
    checkpoint, rng = tiny_checkpoint(name), np.random.default_rng(2)
    spec, readout = checkpoint.spec, open_readout(checkpoint)
    for layer in range(spec.n_layers):
        projection = open_output_projection(checkpoint, layer, sublayer)
        x, added = rng.standard_normal((2, 5, spec.d_model)).astype(np.float32)
        part, scales = added.astype(np.float64), np.ones(5)
        for norm in (*projection.sums, readout.norm):
            scales *= norm.scale(x)
            x, part = norm(x), held(norm, x, part)
        want = readout.in_width(part) @ readout.weight.T
        reported = readout.folded(added, projection) @ readout.weight.T / scales[:, None]
        np.testing.assert_allclose(reported, want, rtol=1e-3, atol=1e-3 * np.abs(want).max(), err_msg=f"layer {layer}")


def test_only_a_stream_that_is_normed_after_each_sum_passes_norms_on_its_way() -> None:
    passed = {
        name: [
            len(open_output_projection(tiny_checkpoint(name), layer, part).sums)
            for layer in (0, 1)
            for part in SUBLAYERS
        ]
        for name in ("norms-around-caps", "normed-sums-projected-embedding-tied")
    }
    assert passed == {
        "norms-around-caps": [0, 0, 0, 0],
        "normed-sums-projected-embedding-tied": [4, 3, 2, 1],
    }, f"norms between each sublayer of two layers and the head: {passed}"
