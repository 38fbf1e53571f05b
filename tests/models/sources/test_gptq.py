"""Checkpoints that GPTQ quantized have the weights that were stored, in every version, width and order of columns."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from models.checkpoint import open_checkpoint
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
    tensor,
    words_of,
    write_folders,
)
from tests.reference_mixtures import MIXTURES

TABLE = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "sym": False}

V2 = {"checkpoint_format": "gptq_v2"}


def store(matrix: Quantized, version: int = 1) -> Tensors:
    """Codes down the columns of each row, zero points along rows; version 1 has the zero points less 1.

    GPTQModel subtracts from whole words, so that a zero point of 0 borrows from the next one; with 3 bits from each.
    """
    zeros, bits = matrix.zeros, matrix.bits
    if version == 1 and bits == 3:
        zeros = (zeros - 1) & np.uint8(7)
    words = words_of(zeros.T, bits)
    if version == 1 and bits != 3:
        words = (words.view(np.uint32) - np.uint32(sum(1 << at for at in range(0, 32, bits)))).view(np.int32)
    return {
        "qweight": words_of(matrix.codes, bits).T,
        "qzeros": words,
        "scales": matrix.scales.T,
        "g_idx": matrix.groups,
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gptq")
    return write_folders(CONFIGS["llama"](), folder, store, TABLE, lambda module: Settings())[0]


@pytest.fixture
def llama(written: Path, tmp_path: Path) -> Path:
    return Path(copytree(written, tmp_path / "llama"))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "settings",
    [
        Settings(4, 128),
        Settings(8, 32),
        Settings(4, 64, shuffled=True),
        Settings(2, 32, shuffled=True),
        Settings(3, 64),
    ],
    ids=str,
)
def test_weights_are_those_that_were_stored(settings: Settings, version: int, tmp_path: Path) -> None:
    table = TABLE | {"bits": settings.bits, "group_size": settings.group} | (V2 if version == 2 else {})
    folders = write_folders(
        CONFIGS["llama"](), tmp_path, partial(store, version=version), table, lambda module: settings
    )
    held = check_equal(*folders)
    scheme = Scheme(settings.bits, settings.group, Zero.WHOLE, ordered=settings.shuffled)
    assert set(held.quantized.schemes.values()) == {scheme}
    assert set(held.quantized.kinds.values()) == {f"GPTQ {settings.bits} bits, groups of {settings.group}"}
    order = held.quantized["layers.0.ffn.up.weight"].order
    assert order is None if not settings.shuffled else sorted(order) == list(range(128))


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_those_of_transformers_with_the_dense_weights(name: str, tmp_path: Path) -> None:
    """Decoders have separate, fused, transposed and interleaved tensors; each module has an order of columns."""
    folders = write_folders(CONFIGS[name](), tmp_path, store, TABLE, lambda module: Settings(shuffled=True))
    check_logits(*folders)


def test_a_whole_row_may_be_one_group(tmp_path: Path) -> None:
    folders = write_folders(
        CONFIGS["llama"](), tmp_path, store, TABLE | {"group_size": -1}, lambda module: Settings(group=-1)
    )
    held = check_equal(*folders)
    assert held.quantized.kinds["layers.0.ffn.down.weight"] == "GPTQ 4 bits, groups of 256"
    assert held.quantized.schemes["layers.0.ffn.down.weight"].group == 128


def test_modules_may_differ_by_rules(tmp_path: Path) -> None:
    """Other bits, another size of groups, and dense modules, as `dynamic` says."""
    rules = {r"+:.*\.down_proj": {"bits": 8}, r".*\.q_proj": {"group_size": 64}, r"-:.*\.o_proj": {}}
    chosen = {"down_proj": Settings(8), "q_proj": Settings(group=64), "o_proj": None}
    folders = write_folders(
        CONFIGS["llama"](),
        tmp_path,
        store,
        TABLE | {"dynamic": rules},
        lambda module: chosen.get(module.rpartition(".")[2], Settings()),
    )
    held = check_equal(*folders)
    kinds = held.quantized.kinds
    assert kinds["layers.1.ffn.down.weight"] == "GPTQ 8 bits, groups of 32"
    assert kinds["layers.1.attn.query.weight"] == "GPTQ 4 bits, groups of 64"
    assert kinds["layers.1.attn.key.weight"] == "GPTQ 4 bits, groups of 32"
    assert "layers.1.attn.out.weight" not in kinds


def write_mixture(folder: Path, settings: Settings) -> tuple[Path, Path]:
    config = MIXTURES["qwen3-moe-dense-layer"]()
    config.update({"moe_intermediate_size": 64, "intermediate_size": 64, "hidden_size": 64})
    return write_folders(config, folder, store, TABLE, lambda module: None if module.endswith("mlp.gate") else settings)


def test_experts_in_modules_of_their_own_are_read(tmp_path: Path) -> None:
    held = check_equal(*write_mixture(tmp_path, Settings()))
    assert {"layers.0.ffn.experts.gate_up.weight", "layers.0.ffn.experts.down.weight"} <= held.quantized.keys()


def test_experts_with_orders_of_their_own_are_refused(tmp_path: Path) -> None:
    said = refusal(write_mixture(tmp_path, Settings(shuffled=True))[0])
    assert "mlp.experts.1.gate_proj' each have an order of columns ('desc_act')" in said


def test_the_bytes_of_a_file_are_shared_among_its_parameters(tmp_path: Path) -> None:
    folder = write_folders(CONFIGS["phi3"](), tmp_path, store, TABLE, lambda module: Settings())[0]
    held = open_checkpoint(folder)
    stored = (folder / "model.safetensors").stat().st_size
    assert 0 < stored - held.stored_bytes < 10_000, "the header is not all that is left"


def shuffled(folder: Path, groups: Callable[[np.ndarray], np.ndarray]) -> None:
    change_tensors(folder, g_idx=np.ascontiguousarray(groups(tensor(folder, "g_idx"))))


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no scales": (lambda folder: change_tensors(folder, scales=None), f"'{QUERY}.scales' is missing"),
    "no zero points": (lambda folder: change_tensors(folder, qzeros=None), f"'{QUERY}.qzeros' is missing"),
    "short codes": (
        lambda folder: change_tensors(folder, qweight=np.zeros((15, 128), np.int32)),
        "(g_idx (128,), qweight (15, 128), qzeros (4, 16), scales (4, 128)) is no matrix of shape (128, 128) with 2, "
        "3, 4 or 8 bits; ",
    ),
    "codes of one axis": (
        lambda folder: change_tensors(folder, qweight=np.zeros(64, np.int32)),
        "is no matrix of shape",
    ),
    "no groups": (
        lambda folder: change_tensors(folder, scales=np.zeros((0, 128), np.float16)),
        "is no matrix of shape",
    ),
    "one scale": (lambda folder: change_tensors(folder, scales=np.array(1, np.float16)), "is no matrix of shape"),
    "codes as floats": (
        lambda folder: change_tensors(folder, qweight=np.zeros((16, 128), np.float32)),
        "has 'qweight' of type F32, which must be I32",
    ),
    "whole scales": (
        lambda folder: change_tensors(folder, scales=np.zeros((4, 128), np.int32)),
        "has 'scales' of type I32, which must be F16 or BF16 or F32",
    ),
    "a dense weight too": (
        lambda folder: change_tensors(folder, weight=np.zeros((128, 128), np.float16)),
        "is quantized and has 'weight' too",
    ),
    "groups above the last": (lambda folder: shuffled(folder, lambda groups: groups + 1), "does not give 32 columns"),
    "groups below the first": (lambda folder: shuffled(folder, lambda groups: groups - 2), "does not give 32 columns"),
    "groups of other sizes": (lambda folder: shuffled(folder, lambda groups: groups // 2), "does not give 32 columns"),
    "groups of other columns": (
        lambda folder: shuffled(folder, lambda groups: groups[:64]),
        "does not give 32 columns",
    ),
    "other bits": (
        lambda folder: change_table(folder, bits=8),
        "has 4 bits in groups of 32, but the config says 8 bits in groups of 32",
    ),
    "other groups": (lambda folder: change_table(folder, group_size=0), "but the config says 4 bits in groups of 0"),
    "bits as text": (lambda folder: change_table(folder, bits="4"), "'bits' is '4'; it must be a whole number"),
    "half bits": (lambda folder: change_table(folder, bits=4.5), "'bits' is 4.5; it must be a whole number"),
    "no bits": (lambda folder: change_table(folder, bits=None), "has no 'bits'"),
    "rules as a list": (lambda folder: change_table(folder, dynamic=["x"]), "'dynamic' is ['x']; it must be a table"),
    "a rule as a number": (lambda folder: change_table(folder, dynamic={"x": 4}), "'x' is 4; it must be a table"),
    "another layout": (
        lambda folder: change_table(folder, checkpoint_format="marlin"),
        "Edge reads 'gptq' and 'gptq_v2' of GPTQ, not 'checkpoint_format' 'marlin'",
    ),
    "a layout as a list": (lambda folder: change_table(folder, checkpoint_format=["gptq"]), "not 'checkpoint_format'"),
    "rotation": (lambda folder: change_table(folder, rotation="hadamard"), "'rotation' requires rotated activations"),
    "another tool": (
        lambda folder: change_table(folder, quant_method="auto-round"),
        "the weights are quantized by 'auto-round'; Edge reads unquantized weights, and those quantized by GPTQ",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_does_not_fit_is_refused_in_a_sentence(damage: str, llama: Path) -> None:
    change, expected = DAMAGES[damage]
    change(llama)
    assert expected in refusal(llama)


def test_the_keys_of_a_shape_are_named(llama: Path) -> None:
    change_tensors(llama, qweight=np.zeros((15, 128), np.int32))
    assert f"'{QUERY}'" in refusal(llama) and "config.json says num_attention_heads=4" in refusal(llama)


def test_groups_that_nobody_set_are_in_order(llama: Path) -> None:
    want = open_checkpoint(llama).weights["layers.0.attn.query.weight"]
    for groups in (None, np.full(128, -1, np.int32)):
        change_tensors(llama, g_idx=groups)
        assert np.array_equal(open_checkpoint(llama).weights["layers.0.attn.query.weight"], want)
