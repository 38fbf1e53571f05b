"""A decoder with matrices in many schemes computes in every engine what torch computes with the dequantized ones."""

from functools import cache

import numpy as np
import pytest

from edge.edits import Ablate, ScaleExpert, ScaleNeuron
from edge.session import Model
from edge.trace import Trace
from edge.watch import Watch
from models.sites import sites_of
from tests.mixed import mixed_checkpoint

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]
CLOSE = 5e-5
"""Largest difference of float32 arithmetic in another order, as a share of the largest value."""


@pytest.fixture(autouse=True)
def cache_of_graphs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path_factory.getbasetemp() / "mixed-cache"))


def opened(engine: str, tied: bool) -> Model:
    return Model(mixed_checkpoint(tied), engine, 1, lambda _: None)


def watched(model: Model) -> Trace:
    return model.run(ids=PROMPT, max_new_tokens=4, watch=Watch.all(), stop_tokens=())


@cache
def wanted(tied: bool) -> Trace:
    with opened("torch", tied) as model:
        assert model.engine == "torch:mixed"
        return watched(model)


def off_by(found: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(found - want).max() / max(1e-6, np.abs(want).max()))


@pytest.mark.parametrize(
    ("engine", "tied"), [("onnx:mixed-acc0", True), ("mlx:mixed", True), ("mlx:mixed", False)], ids=str
)
def test_every_site_agrees_with_torch_on_the_dequantized_weights(engine: str, tied: bool) -> None:
    """A head that is not tied is in `tests/export/test_quantized_exports.py`, too."""
    if engine.startswith("mlx"):
        pytest.importorskip("mlx.core")
    with opened(engine, tied) as model:
        found, unwatched = watched(model), model.run(ids=PROMPT, max_new_tokens=4, stop_tokens=())
    want = wanted(tied)
    assert found.engine == engine and found.tokens == unwatched.tokens == want.tokens
    for site in sites_of(want.spec):
        worst = off_by(found.site(site), want.site(site))
        assert worst < CLOSE, f"{engine} leaves torch first at {site}: off by {worst:.2g}"


def test_edits_agree_with_torch_on_the_dequantized_weights() -> None:
    edits = [ScaleNeuron(1, 3, 2.0), ScaleExpert(0, 2, 0.5), Ablate("layers.2.attn")]
    logits = []
    for engine in ("torch", "onnx:mixed-acc0"):
        with opened(engine, True) as model:
            logits += [model.logits(PROMPT, edits), model.logits(PROMPT)]
    assert off_by(logits[2], logits[0]) < CLOSE and off_by(logits[3], logits[1]) < CLOSE
    assert off_by(logits[0], logits[1]) > 1e-2, "the edits changed nothing"


def test_products_that_round_activations_are_near() -> None:
    with opened("onnx", True) as model:
        assert model.engine == "onnx:mixed"
        first = watched(model).site("layers.0.attn.output")
    assert 1e-6 < off_by(first, wanted(True).site("layers.0.attn.output")) < 0.05
