"""ONNX Runtime's switch between its two kernels of attention is set for our sessions alone."""

import os
from contextlib import closing

import numpy as np
import pytest

from edge.engines.attention_kernel import SWITCH, without_flash_attention
from edge.engines.choice import EngineChoice
from edge.engines.onnx_engine import OnnxEngine
from edge.watch import Watch
from tests.tiny import TINY_SPECS, tiny_checkpoint


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.delenv(SWITCH, raising=False)


def test_the_switch_is_set_only_while_a_session_is_made() -> None:
    with without_flash_attention():
        assert os.environ[SWITCH] == "1"
    assert SWITCH not in os.environ


def test_it_is_reset_where_no_session_comes_to_be() -> None:
    with pytest.raises(ValueError, match="no graph"), without_flash_attention():
        raise ValueError("no graph")
    assert SWITCH not in os.environ


def test_a_switch_that_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    with without_flash_attention():
        assert os.environ[SWITCH] == "0"
    assert os.environ[SWITCH] == "0"


def test_other_processors_keep_the_runtimes_own_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    with without_flash_attention():
        assert SWITCH not in os.environ


def logits_with(switch: str, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The difference for one token after 40, which the two kernels add up in another order."""
    monkeypatch.setenv(SWITCH, switch)
    name = "neox-full-rotary-relu"
    ids = np.random.default_rng(2).integers(0, TINY_SPECS[name].vocab_size, 41)
    with closing(OnnxEngine(tiny_checkpoint(name), EngineChoice("onnx"), 1, lambda _: None)) as engine:
        engine.reserve(41)
        engine.feed(ids[:40], Watch.nothing())
        return engine.feed(ids[40:], Watch.nothing()).logits


def test_the_installed_runtime_has_both_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    tiled, plain = logits_with("0", monkeypatch), logits_with("1", monkeypatch)
    assert np.allclose(tiled, plain, atol=1e-4)
    assert not np.array_equal(tiled, plain), "the switch changes nothing: look for the new one of this ONNX Runtime"
