"""What sparsity would save: bytes by definition, and an FFN that computes the same from fewer rows."""

import numpy as np
import pytest

from edge.profile import sparsity_savings
from edge.profile.sparsity_savings import Gatherer, skipped
from edge.profile.weight_memory import weight_bytes
from edge.watch import Watch
from tests.edge.laws.test_every_engine import tiny_model
from tests.tiny import tiny_checkpoint


def test_bytes_skipped_are_the_inactive_share_of_the_ffn() -> None:
    name = "neox-full-rotary-relu"
    with tiny_model(name, "torch") as model:
        trace = model.run(ids=[3, 1, 41, 59], max_new_tokens=0, watch=Watch(parts=("ffn.neurons",)))
    layers = skipped(trace, weight_bytes("torch", tiny_checkpoint(name)))
    assert [one.layer for one in layers] == list(range(trace.spec.n_layers))
    for one in layers:
        d_ff = trace.spec.layers[one.layer].ffn.d_ff
        assert one.ffn_bytes == 2 * 4 * d_ff * trace.spec.d_model
        zeros = float((trace.neurons(one.layer) == 0).mean())
        assert one.inactive["exact_zero_share"] == pytest.approx(zeros, abs=1e-6)
        assert one.skipped_bytes["exact_zero_share"] == pytest.approx(zeros * one.ffn_bytes, rel=1e-5)


@pytest.fixture
def gatherer(monkeypatch: pytest.MonkeyPatch) -> Gatherer:
    monkeypatch.setattr(sparsity_savings, "BEYOND_CACHE_BYTES", 1_000_000)
    return Gatherer(lambda _: None, tiny_checkpoint("neox-full-rotary-relu").spec)


def test_rows_of_the_neurons_that_fire_give_the_whole_ffn(gatherer: Gatherer) -> None:
    active = np.flatnonzero(gatherer._keys[0] @ gatherer._x > 0)
    assert 0 < len(active) < len(gatherer._keys[0])
    assert np.allclose(gatherer._sparse(0, active), gatherer._dense(0), atol=1e-4)


def test_the_curve_has_a_point_for_every_share_beside_the_whole(gatherer: Gatherer) -> None:
    curve = gatherer.curve(rounds=1)
    shares = [point.active for point in curve]
    assert shares == sorted(shares) and len(shares) == len(sparsity_savings.SHARES)
    assert all(point.took_ns > 0 and point.dense_ns > 0 and point.gain > 0 for point in curve)
