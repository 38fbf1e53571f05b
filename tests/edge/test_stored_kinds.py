"""How the parameters of a checkpoint are stored, by type."""

from math import prod
from pathlib import Path

import pytest

from edge.stored_kinds import precision_name, stored_kinds
from models.checkpoint import open_checkpoint
from models.parameters import parameter_shapes
from tests.folders import write_byte_llama
from tests.mlx_quantized import quantize
from tests.models.found.layouts import F32, LLAMA, Q8_0, llama_tensors, small_llama
from tests.models.sources.gguf_writer import write_gguf
from tests.reference import REFERENCES, write_reference


def test_the_types_of_a_gguf_file_are_counted_with_their_shares(tmp_path: Path) -> None:
    tensors = llama_tensors(Q8_0) | {"blk.0.attn_v.weight": llama_tensors(F32)["blk.0.attn_v.weight"]}
    checkpoint = open_checkpoint(write_gguf(tmp_path / "mixed.gguf", LLAMA, tensors))
    quantized, floats = stored_kinds(checkpoint)
    assert (quantized.kind, quantized.count, floats.kind, floats.count) == ("Q8_0", 7, "F32", 4)
    in_floats = 32 * 32 + 3 * 32
    assert floats.share == pytest.approx(in_floats / (in_floats + 3 * 32 * 32 + 3 * 64 * 32 + 8 * 32))
    assert precision_name(checkpoint) == "Q8_0, F32"


def test_types_of_few_parameters_are_left_out_of_the_precision(tmp_path: Path) -> None:
    assert precision_name(open_checkpoint(small_llama(tmp_path / "model.gguf"))) == "Q8_0"
    assert precision_name(open_checkpoint(small_llama(tmp_path / "model.gguf", F32))) == "F32"


def test_floats_and_quantized_folders_have_the_names_of_engines(tmp_path: Path) -> None:
    assert precision_name(open_checkpoint(write_byte_llama(tmp_path / "floats"))) == "fp32"
    write_reference(REFERENCES["llama-grouped-tied"](), tmp_path / "quantized")
    quantize(tmp_path / "quantized", bits=4)
    assert precision_name(open_checkpoint(tmp_path / "quantized")) == "int4"


@pytest.mark.parametrize("is_gguf", [True, False])
def test_every_parameter_is_counted_once(tmp_path: Path, is_gguf: bool) -> None:
    path = small_llama(tmp_path / "model.gguf") if is_gguf else write_byte_llama(tmp_path / "model")
    checkpoint = open_checkpoint(path)
    kinds, shapes = stored_kinds(checkpoint), parameter_shapes(checkpoint.spec)
    assert sum(one.count for one in kinds) == len(shapes) and sum(one.share for one in kinds) == pytest.approx(1)
    assert [one.share for one in kinds] == sorted((one.share for one in kinds), reverse=True)
    assert all(prod(shape) for shape in shapes.values())
