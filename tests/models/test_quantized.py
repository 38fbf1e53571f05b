"""Matrices in groups of whole numbers: how far rounding may move a weight, and what a file gives back."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load_file

from models.checkpoint import Checkpoint
from models.errors import CheckpointError, MisuseError
from models.parameters import parameter_shapes
from models.precision import FP32, GROUPS, Float, Grouped, Scheme, Zero, precision_of
from models.quantized import QuantizedMatrix, codes_from_bytes, codes_to_bytes, groups_of, middle, quantize_matrix
from models.quantized_file import matrices, open_quantized, write_quantized
from tests.tiny import TINY_SPECS, tiny_checkpoint

SCHEMES = [Scheme(bits, group, zero) for bits in (4, 8) for group in GROUPS for zero in (Zero.WHOLE, Zero.MIDDLE)]
scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: str(Grouped(scheme)))


PARTS = ("attn.query", "attn.key", "attn.value", "attn.out", "ffn.gate", "ffn.up", "ffn.down")


STORED = ("int2-g16", "int3-g16-sym", "int5", "int6-g16-sym-acc0", "mixed", "mixed-acc0", "mixed-acc1")
"""Precisions of weights that are stored quantized."""


def quiet(_: str) -> None:
    """Progress that is ignored."""


@given(st.sampled_from((4, 8)), st.integers(1, 4), st.integers(1, 40), st.randoms(use_true_random=False))
def test_codes_survive_a_round_trip(bits: int, rows: int, pairs: int, random) -> None:
    codes = np.array([[random.randrange(1 << bits) for _ in range(2 * pairs)] for _ in range(rows)], np.uint8)
    assert np.array_equal(codes_from_bytes(codes_to_bytes(codes, bits), bits), codes)


weights = arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 140)), elements=st.floats(-1e3, 1e3, width=32))


@given(weights, st.sampled_from(SCHEMES))
def test_no_weight_moves_further_than_its_group_s_step(matrix: np.ndarray, scheme: Scheme) -> None:
    """Half a step with a zero of the group's own, one step where the zero is the middle: there one end is cut off."""
    quantized = quantize_matrix(matrix, scheme)
    assert quantized.scales.shape == (len(matrix), groups_of(matrix.shape[1], scheme))
    step = np.abs(np.repeat(quantized.scales, scheme.group, axis=1))[:, : matrix.shape[1]]
    # With a whole zero, the zero is rounded too, and moves its whole group by up to half a step more.
    moved = np.abs(quantized.dense() - matrix)
    assert (moved <= 1.001 * step + 1e-6).all(), f"a weight moved by {(moved / step).max():.2f} steps"


@scheme
def test_rounding_is_as_fine_as_its_bits(scheme: Scheme) -> None:
    """The error of normal weights, as a share of their size: about 2^-bits."""
    matrix = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)
    quantized = quantize_matrix(matrix, scheme)
    error = float(np.sqrt(np.mean((quantized.dense() - matrix) ** 2)))
    assert error < 2.4 * 2.0**-scheme.bits, f"{error:.4f} of the weights' size is lost"


def test_a_zero_of_its_own_costs_a_skewed_group_less() -> None:
    matrix = np.random.default_rng(0).random((8, 64), dtype=np.float32)
    lost = [
        np.abs(quantize_matrix(matrix, Scheme(4, 32, zero)).dense() - matrix).mean()
        for zero in (Zero.MIDDLE, Zero.WHOLE)
    ]
    assert lost[1] < 0.7 * lost[0], f"with a whole zero {lost[1]:.4f} is lost, with the middle {lost[0]:.4f}"


@scheme
def test_zero_weights_stay_exactly_zero(scheme: Scheme) -> None:
    matrix = np.random.default_rng(0).standard_normal((4, 160)).astype(np.float32)
    matrix[:, ::3] = 0
    matrix[1] = 0
    assert (quantize_matrix(matrix, scheme).dense()[matrix == 0] == 0).all(), "a weight of 0 became something"


@given(weights)
def test_quantizing_quantized_weights_changes_nothing_with_the_middle_as_zero(matrix: np.ndarray) -> None:
    """What codes stand for is what they would be chosen for: rounding has nothing left to do."""
    scheme = Scheme(8, 32, Zero.MIDDLE)
    once = quantize_matrix(matrix, scheme).dense()
    again = quantize_matrix(once, scheme).dense()
    assert np.allclose(once, again, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TINY_SPECS)
@pytest.mark.parametrize("scheme", [Scheme(4, 32, Zero.WHOLE), Scheme(8, 64, Zero.MIDDLE)], ids=["int4", "int8"])
def test_a_file_gives_back_what_was_quantized(tmp_path: Path, name: str, scheme: Scheme) -> None:
    """Codes, scales and zeros of every matrix; every other parameter to the last bit; other tools read the file."""
    checkpoint, file = tiny_checkpoint(name), tmp_path / "quantized.safetensors"
    said: list[str] = []
    write_quantized(checkpoint.spec, checkpoint.weights, scheme, file, said.append)
    opened = Checkpoint(checkpoint.source, checkpoint.spec, *open_quantized(file, checkpoint.spec))
    assert set(opened.quantized) == set(matrices(checkpoint.spec)) and len(said) == len(opened.quantized)
    assert set(opened.quantized.kinds.values()) == {f"int{scheme.bits}, groups of {scheme.group}"}
    for parameter in parameter_shapes(checkpoint.spec):
        if parameter in opened.quantized:
            rows = checkpoint.weights[parameter].reshape(-1, checkpoint.weights[parameter].shape[-1])
            want, found = quantize_matrix(rows, scheme), opened.quantized[parameter]
            assert np.array_equal(found.codes, want.codes) and np.array_equal(found.scales, want.scales), parameter
            assert np.array_equal(found.zero_points(), want.zero_points()), parameter
            dense = opened.weights[parameter]
            assert np.array_equal(dense.reshape(-1, dense.shape[-1]), want.dense()), parameter
        else:
            assert np.array_equal(opened.weights[parameter], checkpoint.weights[parameter]), parameter
    assert opened.stored_bytes == sum(array.nbytes for array in load_file(file).values())


def test_every_tensor_lies_where_its_numbers_can_be_read_in_place(tmp_path: Path) -> None:
    file = tmp_path / "quantized.safetensors"
    checkpoint = tiny_checkpoint("llama-one-kv-head-odd-sizes")
    write_quantized(checkpoint.spec, checkpoint.weights, Scheme(4, 32, Zero.WHOLE), file, quiet)
    _, quantized = open_quantized(file, checkpoint.spec)
    for name, matrix in quantized.items():
        assert matrix.scales.flags.aligned and matrix.codes.flags.c_contiguous, f"{name} must be copied to be used"


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        (("head",), {"head.weight"}),
        (("layers.0.*", "embed"), {"embed.weight", *(f"layers.0.{part}.weight" for part in PARTS)}),
        (("*.ffn.down",), {f"layers.{layer}.ffn.down.weight" for layer in range(2)}),
    ],
    ids=["head", "a layer and the embedding", "one of every layer"],
)
def test_matrices_that_are_kept_stay_as_they_are(tmp_path: Path, keep: tuple[str, ...], kept: set[str]) -> None:
    checkpoint, file = tiny_checkpoint("llama-one-kv-head-odd-sizes"), tmp_path / "quantized.safetensors"
    write_quantized(checkpoint.spec, checkpoint.weights, Scheme(4, 32, Zero.WHOLE), file, quiet, keep)
    weights, quantized = open_quantized(file, checkpoint.spec)
    assert set(matrices(checkpoint.spec)) - set(quantized) == kept
    for name in kept:
        assert np.array_equal(weights[name], checkpoint.weights[name]), f"{name} was to be kept"


def test_a_pattern_that_fits_nothing_says_what_there_is() -> None:
    with pytest.raises(MisuseError, match=r"no matrix matches 'heads'; matrices are embed, attn.query, .*, head, with"):
        matrices(TINY_SPECS["llama-one-kv-head-odd-sizes"], ("heads",))


@pytest.mark.parametrize("damage", ["cut", "other decoder", "other format", "no note"])
def test_a_file_that_is_not_this_decoder_s_is_refused(tmp_path: Path, damage: str) -> None:
    file, name = tmp_path / "quantized.safetensors", "neox-full-rotary-relu"
    write_quantized(TINY_SPECS[name], tiny_checkpoint(name).weights, Scheme(4, 32, Zero.WHOLE), file, quiet)
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[:-1])
    elif damage == "other decoder":
        name = "gpt2-learned-positions-tied"
    elif damage == "other format":
        file.write_bytes(content.replace(rb"\"format\": 1", rb"\"format\": 9"))
    else:
        file.write_bytes(content.replace(b"edge_quantized", b"edge_pocked"))
    with pytest.raises(CheckpointError, match=str(file)):
        open_quantized(file, TINY_SPECS[name])


@pytest.mark.parametrize(
    "text",
    ["fp32", "bf16", "fp16", "int4", "int8", "int4-g128-sym", "int8-sym", "int4-g64-acc0", "int4-acc1", *STORED],
)
def test_a_precision_is_spelled_as_it_was_read(text: str) -> None:
    assert str(precision_of(text)) == text


def test_options_of_a_precision_come_in_any_order() -> None:
    assert precision_of("int4-acc0-sym-g128") == precision_of("int4-g128-sym-acc0")
    assert precision_of("fp32") == FP32 == Float("fp32")
    assert precision_of("int4-g32-acc4") == precision_of("int4") == Grouped(Scheme(4, 32, Zero.WHOLE), 4)


@pytest.mark.parametrize(
    "text", ["int7", "fp64", "int4-g48", "int4-", "int4 -sym", "", "INT4", "int4-acc2", "mixed-g64"]
)
def test_an_unknown_precision_lists_the_known_ones(text: str) -> None:
    with pytest.raises(MisuseError, match=r"no precision '.*fp32, bf16, fp16, or int4, int8"):
        precision_of(text)


def test_a_matrix_knows_what_it_takes() -> None:
    quantized = quantize_matrix(np.ones((3, 40), np.float32), Scheme(4, 32, Zero.WHOLE))
    assert quantized.nbytes == 3 * 32 + 3 * 2 * 4 + 3 * 2
    assert replace(quantized, zeros=None).zero_points().tolist() == [[middle(4)] * 2] * 3
    assert isinstance(quantized, QuantizedMatrix) and json.loads(json.dumps(quantized.scheme.zero)) == "whole"


@pytest.mark.parametrize("weight", [np.nan, np.inf, -np.inf])
def test_a_matrix_with_a_weight_that_is_not_finite_is_refused_by_name(weight: float, tmp_path: Path) -> None:
    held = tiny_checkpoint("neox-full-rotary-relu")
    held.weights["layers.1.ffn.up.weight"][2, 3] = weight  # type: ignore[index]
    with pytest.raises(CheckpointError, match=r"layers\.1\.ffn\.up\.weight cannot be quantized: some of its weights"):
        write_quantized(held.spec, held.weights, Scheme(8, 32, Zero.WHOLE), tmp_path / "quantized", lambda _: None)
