"""Checkpoints that AWQ quantized have the weights that were stored."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from models.precision import Scheme, Zero
from tests.models.sources.quantized_folders import (
    CONFIGS,
    QUERY,
    Quantized,
    Settings,
    Tensors,
    change_table,
    change_tensors,
    check_equal,
    check_logits,
    refusal,
    words_of,
    write_folders,
)

TABLE = {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm", "zero_point": True}

_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
"""The row whose code each half byte of a word has, as AutoAWQ writes it."""


def _along_rows(codes: np.ndarray) -> np.ndarray:
    return words_of(codes.reshape(len(codes), -1, 8)[..., _ORDER].reshape(codes.shape), 4)


def store(matrix: Quantized) -> Tensors:
    return {
        "qweight": _along_rows(matrix.codes.T),
        "qzeros": _along_rows(matrix.zeros.T),
        "scales": matrix.scales.T,
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(CONFIGS["llama"](), tmp_path_factory.mktemp("awq"), store, TABLE, lambda module: Settings())[0]


@pytest.fixture
def llama(written: Path, tmp_path: Path) -> Path:
    return Path(copytree(written, tmp_path / "llama"))


@pytest.mark.parametrize("group", [32, 64, 128, -1])
def test_weights_are_those_that_were_stored(group: int, tmp_path: Path) -> None:
    """A config may leave version and size of groups to their defaults, and some modules dense."""
    table = TABLE | {"group_size": group, "modules_to_not_convert": ["down_proj"]}
    table = {"quant_method": "awq"} if group == 128 else table
    folders = write_folders(
        CONFIGS["llama"](), tmp_path, store, table, lambda module: None if "down" in module else Settings(group=group)
    )
    held = check_equal(*folders)
    size = 128 if group == -1 else group
    assert set(held.quantized.schemes.values()) == {Scheme(4, size, Zero.WHOLE)}
    assert set(held.quantized.kinds.values()) == {f"AWQ 4 bits, groups of {size}"}
    assert "layers.0.ffn.down.weight" not in held.quantized


@pytest.mark.parametrize("name", ["llama", "phi3", "gpt_neox"])
def test_logits_are_those_of_transformers_with_the_dense_weights(name: str, tmp_path: Path) -> None:
    check_logits(*write_folders(CONFIGS[name](), tmp_path, store, TABLE, lambda module: Settings()))


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no scales": (lambda folder: change_tensors(folder, scales=None), f"'{QUERY}.scales' is missing"),
    "codes of GPTQ": (
        lambda folder: change_tensors(folder, qweight=np.zeros((16, 128), np.int32)),
        "is no matrix of shape (128, 128) with 4 bits; ",
    ),
    "an order of columns": (
        lambda folder: change_tensors(folder, g_idx=np.zeros(128, np.int32)),
        "is quantized and has 'g_idx' too",
    ),
    "another version": (
        lambda folder: change_table(folder, version="GEMV"),
        "Edge reads version 'gemm' of AWQ, not 'GEMV'",
    ),
    "a version as a number": (lambda folder: change_table(folder, version=1), "version 'gemm' of AWQ, not 1"),
    "other bits": (lambda folder: change_table(folder, bits=8), "but the config says 8 bits in groups of 32"),
    "other groups": (lambda folder: change_table(folder, group_size=64), "but the config says 4 bits in groups of 64"),
    "groups as text": (
        lambda folder: change_table(folder, group_size="32"),
        "'group_size' is '32'; it must be a whole number",
    ),
    "scaled activations": (
        lambda folder: change_tensors(folder, **{"act.scales": np.ones(128, np.float16)}),
        "AWQ scaled activations too",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_does_not_fit_is_refused_in_a_sentence(damage: str, llama: Path) -> None:
    change, expected = DAMAGES[damage]
    change(llama)
    assert expected in refusal(llama)
