"""Checkpoints in compressed-tensors have the weights that were stored; other formats of it are refused."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

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


def group_of(settings: Settings, **keys: object) -> dict[str, Any]:
    """An entry of `config_groups`, as llm-compressor writes it."""
    weights = {
        "num_bits": settings.bits,
        "type": "int",
        "symmetric": settings.symmetric,
        "strategy": "channel" if settings.group == -1 else "group",
        "group_size": None if settings.group == -1 else settings.group,
        "actorder": "group" if settings.shuffled else None,
        "dynamic": False,
    }
    return {"targets": ["Linear"], "weights": weights, "input_activations": None, "output_activations": None} | keys


def table_of(*settings: Settings) -> dict[str, Any]:
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "kv_cache_scheme": None,
        "config_groups": {f"group_{at}": group_of(settings) for at, settings in enumerate(settings)},
        "ignore": ["lm_head", "re:.*o_proj"],
    }


def store(matrix: Quantized, symmetric: bool, shuffled: bool) -> Tensors:
    tensors = {
        "weight_packed": words_of(matrix.codes, matrix.bits),
        "weight_scale": matrix.scales,
        "weight_shape": np.array(matrix.codes.shape, np.int64),
    }
    if not symmetric:
        tensors["weight_zero_point"] = words_of(matrix.zeros.T, matrix.bits).T
    return tensors | ({"weight_g_idx": matrix.groups} if shuffled else {})


def write(folder: Path, settings: Settings, name: str = "llama") -> tuple[Path, Path]:
    return write_folders(
        CONFIGS[name](),
        folder,
        lambda matrix: store(matrix, settings.symmetric, settings.shuffled),
        table_of(settings),
        lambda module: None if module.endswith("o_proj") else settings,
    )


SYMMETRIC = Settings(symmetric=True)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("compressed-tensors"), SYMMETRIC)[0]


@pytest.fixture
def llama(written: Path, tmp_path: Path) -> Path:
    return Path(copytree(written, tmp_path / "llama"))


@pytest.mark.parametrize(
    "settings",
    [
        Settings(4, 128, symmetric=True),
        Settings(8, -1, symmetric=True),
        Settings(4, 32),
        Settings(8, 64),
        Settings(4, -1),
        Settings(4, 32, shuffled=True),
        Settings(8, 32, shuffled=True, symmetric=True),
        Settings(3, 64),
        Settings(5, 32, symmetric=True),
    ],
    ids=str,
)
def test_weights_are_those_that_were_stored(settings: Settings, tmp_path: Path) -> None:
    held = check_equal(*write(tmp_path, settings))
    size = 128 if settings.group == -1 else settings.group
    zero = Zero.MIDDLE if settings.symmetric else Zero.WHOLE
    assert held.quantized.schemes["layers.0.attn.query.weight"] == Scheme(settings.bits, size, zero, settings.shuffled)
    assert held.quantized.kinds["layers.0.attn.query.weight"] == (
        f"compressed-tensors {settings.bits} bits, groups of {size}"
    )
    assert "layers.0.attn.out.weight" not in held.quantized, "a module in 'ignore' is quantized"


@pytest.mark.parametrize("name", ["llama", "phi3", "granite"])
def test_logits_are_those_of_transformers_with_the_dense_weights(name: str, tmp_path: Path) -> None:
    check_logits(*write(tmp_path, Settings(shuffled=True), name))


def test_modules_may_belong_to_several_groups_of_the_config(tmp_path: Path) -> None:
    wide = Settings(8, -1, symmetric=True)
    folders = write_folders(
        CONFIGS["llama"](),
        tmp_path,
        lambda matrix: store(matrix, symmetric=True, shuffled=False),
        table_of(SYMMETRIC, wide),
        lambda module: wide if "mlp" in module else SYMMETRIC,
    )
    kinds = check_equal(*folders).quantized.kinds
    assert kinds["layers.0.attn.query.weight"] == "compressed-tensors 4 bits, groups of 32"
    assert kinds["layers.1.ffn.up.weight"] == "compressed-tensors 8 bits, groups of 128"


def change_group(folder: Path, weights: dict[str, object] | None = None, **keys: object) -> None:
    """Changes the only group of the config, and its weights."""
    entry = group_of(SYMMETRIC, **keys)
    change_table(folder, config_groups={"group_0": entry | {"weights": entry["weights"] | (weights or {})}})


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no scales": (lambda folder: change_tensors(folder, weight_scale=None), f"'{QUERY}.weight_scale' is missing"),
    "short codes": (
        lambda folder: change_tensors(folder, weight_packed=np.zeros((128, 15), np.int32)),
        "is no matrix of shape (128, 128) with 2, 3, 4, 5, 6 or 8 bits; ",
    ),
    "zero points of symmetric weights": (
        lambda folder: change_tensors(folder, weight_zero_point=np.zeros((16, 4), np.int32)),
        "has zero points, but the config says otherwise",
    ),
    "no zero points of others": (
        lambda folder: change_group(folder, {"symmetric": False}),
        "has no zero points, but the config says otherwise",
    ),
    "zero points as bytes": (
        lambda folder: change_tensors(folder, weight_zero_point=np.zeros((128, 4), np.int8)),
        "has 'weight_zero_point' of type I8, which must be I32",
    ),
    "scales of activations": (
        lambda folder: change_tensors(folder, input_scale=np.ones(1, np.float32)),
        "is quantized and has 'input_scale' too",
    ),
    "other bits": (
        lambda folder: change_group(folder, {"num_bits": 8}),
        "has 4 bits in groups of 32, but the config says 8 bits in groups of 32",
    ),
    "bits as text": (lambda folder: change_group(folder, {"num_bits": "4"}), "'num_bits' is '4'; it must be a whole"),
    "symmetry as text": (
        lambda folder: change_group(folder, {"symmetric": "yes"}),
        "'symmetric' is 'yes'; it must be true or false",
    ),
    "a group as a list": (
        lambda folder: change_table(folder, config_groups={"a": []}),
        "'a' is []; it must be a table",
    ),
    "no groups": (
        lambda folder: change_table(folder, config_groups={}),
        "no zero points, but the config says otherwise",
    ),
    "one scale for all": (
        lambda folder: change_group(folder, {"strategy": "tensor", "group_size": None}),
        "not 'type' 'int' with 'strategy' 'tensor'",
    ),
    "floats": (lambda folder: change_group(folder, {"type": "float"}), "not 'type' 'float' with 'strategy' 'group'"),
    "quantized activations": (
        lambda folder: change_group(folder, input_activations={"num_bits": 8}),
        "'input_activations' requires quantized activations",
    ),
    "quantized keys and values": (
        lambda folder: change_table(folder, kv_cache_scheme={"num_bits": 8}),
        "'kv_cache_scheme' requires quantized keys and values",
    ),
    "rotated activations": (
        lambda folder: change_table(folder, transform_config={"config_groups": {"v": {"type": "hadamard"}}}),
        "'transform_config' rotates activations",
    ),
    **{
        f"in {name}": (
            lambda folder, name=name: change_table(folder, format=name),  # type: ignore[misc]
            f"Edge reads 'pack-quantized' of compressed-tensors, not 'format' '{name}'",
        )
        for name in ("int-quantized", "float-quantized", "nvfp4-store-quantized", "marlin-24")
    },
    "a group in another format": (
        lambda folder: change_group(folder, format="float-quantized"),
        "not 'format' 'float-quantized'",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_does_not_fit_is_refused_in_a_sentence(damage: str, llama: Path) -> None:
    change, expected = DAMAGES[damage]
    change(llama)
    assert expected in refusal(llama)
