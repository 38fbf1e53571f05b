"""Quantized mixtures of experts: one set of weights in three engines, and recording changes no logit."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edge.engines.base import Engine
from edge.session import Model
from edge.watch import Watch
from models.spec import MoE
from tests.tiny import TINY_SPECS, FakeCheckpoint, tiny_checkpoint, tiny_weights

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
CLOSE = 5e-5
"""Largest difference of float32 arithmetic in another order, as a share of the largest value."""

ROUNDED = 0.2
"""Largest difference that activations in 8 bits cause, where a token may choose other experts."""


def whole_groups() -> FakeCheckpoint:
    """Experts whose sizes are multiples of 32, so that one operator computes them."""
    spec = TINY_SPECS["experts-in-groups-shared-and-a-dense-layer"]
    layers = []
    for layer in spec.layers:
        if isinstance(layer.ffn, MoE):
            layer = replace(layer, ffn=replace(layer.ffn, expert=replace(layer.ffn.expert, d_ff=64)))
        layers.append(layer)
    spec = replace(spec, layers=tuple(layers))
    return FakeCheckpoint(spec, tiny_weights(spec, 0), name="whole-groups")


CHECKPOINTS: dict[str, Callable[[], FakeCheckpoint]] = {
    "whole-groups": whole_groups,
    "padded-rows": lambda: tiny_checkpoint("experts-in-groups-shared-and-a-dense-layer"),
    "odd-sizes-biases": lambda: tiny_checkpoint("clamped-experts-sinks-odd-sizes"),
}
CASES = [("whole-groups", precision) for precision in ("int4-acc0", "int8-acc0", "int4", "int8-g64-sym")]
CASES += [("padded-rows", "int4"), ("odd-sizes-biases", "int8")]


def off_by(found: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(found - want).max() / np.abs(want).max())


def unrecorded(engine: Engine) -> np.ndarray:
    """Logits after the last two tokens, from passes that record nothing: the whole prompt, then one token."""
    engine.clear()
    engine.reserve(len(PROMPT))
    passes = (PROMPT[:-1], PROMPT[-1:])
    return np.concatenate([engine.feed(np.array(ids), Watch.nothing()).logits for ids in passes])


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_engines_agree_and_recording_changes_no_logit(name: str, precision: str) -> None:
    checkpoint = CHECKPOINTS[name]()
    with Model(checkpoint, f"torch:{precision}", 1, lambda _: None) as model:
        want = model.logits(PROMPT)
    for engine in ("onnx", "mlx"):
        with Model(checkpoint, f"{engine}:{precision}", 1, lambda _: None) as model:
            recorded, plain = model.logits(PROMPT), model.with_engine(unrecorded)
        is_exact = engine == "mlx" or "acc0" in precision
        worst, between = off_by(recorded, want), off_by(plain, recorded[-2:])
        assert worst < (CLOSE if is_exact else ROUNDED), f"{engine}:{precision} leaves torch: off by {worst:.2g}"
        assert is_exact or worst > 1e-4, "activations in 8 bits are not rounded"
        assert between < CLOSE, f"{engine}:{precision}: recording changes logits by {between:.2g}"
