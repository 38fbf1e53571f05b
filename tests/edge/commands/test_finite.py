"""Commands that compare and time models end in one message where numbers are not finite, never in tables of NaN."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edge.engines.choice import engine_of
from edge.engines.registry import open_engine
from edge.time_sublayers import time_passes
from edge.timing import Grain
from models.checkpoint import open_checkpoint
from models.errors import EdgeError
from tests.edge.conftest import Said
from tests.folders import write_byte_llama

PROFILE = ("profile", "--rounds", 1, "--repeats", 1, "-n", 2, "--prompt-tokens", 8)
COMPARE = ("compare", "--rounds", 1, "--tokens", 40)


def _changed(folder: Path, name: str, factor: float) -> Path:
    write_byte_llama(folder)
    weights = load_file(folder / "model.safetensors")
    weights[name] = weights[name] * np.float32(factor)
    save_file(weights, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that float32 computes, and whose layer 1 adds more than float16 holds."""
    return _changed(tmp_path_factory.mktemp("models") / "wide", "model.layers.1.mlp.down_proj.weight", 1e5)


@pytest.mark.parametrize(("words", "engine"), [(PROFILE, "torch"), (COMPARE, "mlx")], ids=["profile", "compare"])
def test_a_variant_that_overflows_ends_a_command_with_site_layer_token_and_way_out(
    words: tuple[str, ...], engine: str, wide: Path, said: Said
) -> None:
    code, out, err = said(words[0], wide, "-e", engine, "-e", f"{engine}:fp16", *words[1:])
    assert code == 1, f"{out}\n{err}"
    last = err.strip().splitlines()[-1]
    assert f"{engine}:fp16 computes numbers that are not finite, from layers.1.ffn.output, token " in last, err
    assert f"run on {engine} or {engine}:bf16" in last
    assert "Traceback" not in err and not out.strip()


def test_the_way_out_that_the_message_names_works(wide: Path, said: Said) -> None:
    code, _, err = said(COMPARE[0], wide, "-e", "mlx", "-e", "mlx:bf16", *COMPARE[1:])
    assert code == 0, err


def test_a_damaged_weight_ends_a_comparison_of_models(wide: Path, said: Said, tmp_path: Path) -> None:
    broken = _changed(tmp_path / "broken", "model.layers.0.self_attn.q_proj.weight", float("nan"))
    code, _, err = said(COMPARE[0], wide, broken, "-e", "torch", *COMPARE[1:])
    last = err.strip().splitlines()[-1]
    assert code == 1 and "from layers.0.attn.query, token 0 on; the weights may be damaged" in last, err


@pytest.mark.parametrize("engine", ["torch:fp16", "mlx:fp16"])
def test_timed_passes_notice_numbers_that_are_not_finite(engine: str, wide: Path) -> None:
    opened = open_engine(engine_of(engine), open_checkpoint(wide), None, lambda _: None)
    ids = tuple(range(30, 46))
    for tokens in (1, 16):
        with pytest.raises(EdgeError, match=r"not finite, from layers\.1\.ffn\.output, token \d+ on"):
            time_passes(opened, ids, tokens, 2, (Grain.SUBLAYER,), lambda: False)
    opened.close()
