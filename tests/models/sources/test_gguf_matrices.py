"""Quantized GGUF files of every architecture: Edge computes with exactly the weights in the file."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from transformers import AutoModelForCausalLM

import edge
from models.checkpoint import open_checkpoint
from models.errors import CheckpointError
from models.parameters import parameters_of
from models.sources.gguf.blocks import BLOCK_SCHEMES
from models.sources.gguf.file import open_gguf
from tests.models.sources.architectures import CASES, FIRST, WIDE, Small
from tests.models.sources.converted import Kinds, Tensors, write_gguf
from tests.models.sources.test_gguf_architectures import IDS, logits_of
from tests.models.sources.test_gguf_config import source_with
from tests.reference import write_reference


def mixed(name: str) -> str:
    """As in files named Q4_K_M: values and downs have more bits than others, and the embedding has another type."""
    if name.startswith(("token_embd", "output")):
        return "Q8_0"
    if "attn_v" in name or "ffn_down" in name:
        return "Q6_K"
    return "Q4_K" if "ffn" in name or "qkv" in name else "Q4_0"


def as_gpt_oss(name: str) -> str:
    """As OpenAI published it."""
    return "MXFP4" if "exps" in name else mixed(name)


def rounded_copy(folder: Path, file: Path, kinds: str | Kinds, out: Path) -> Path:
    """Writes a GGUF file of a folder, and a folder that has the weights of the file."""
    rounded: Tensors = {}
    write_gguf(folder, file, kinds, rounded)
    out.mkdir()
    shutil.copy(folder / "config.json", out / "config.json")
    save_file(rounded, out / "model.safetensors", {"format": "pt"})
    return out


@pytest.mark.parametrize("architecture", FIRST)
def test_logits_are_those_of_transformers_on_the_weights_of_the_file(architecture: str, tmp_path: Path) -> None:
    write_reference(CASES[FIRST[architecture]](WIDE), tmp_path / "model")
    kinds = as_gpt_oss if architecture == "gpt-oss" else mixed
    rounded = rounded_copy(tmp_path / "model", tmp_path / "model.gguf", kinds, tmp_path / "rounded")
    want = logits_of(AutoModelForCausalLM.from_pretrained(rounded, dtype=torch.float32).eval())
    with edge.load(tmp_path / "model.gguf", "torch") as model:
        worst = float(np.abs(model.logits(IDS) - want).max())
    assert worst < 1e-4 * max(1.0, float(np.abs(want).max())), f"{architecture} leaves transformers by {worst:.2g}"


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
@pytest.mark.parametrize("name", ["llama", "gpt2", "gptneox-parallel", "granitemoe", "glm4", "stablelm", "gpt-oss"])
def test_every_matrix_stays_quantized_with_the_weights_of_the_file(
    name: str, kind: str, small: Callable[[str], Small], tmp_path: Path
) -> None:
    """All that activations are multiplied with; norms, biases and routers are floats."""
    rounded = rounded_copy(small(name).folder, tmp_path / "model.gguf", kind, tmp_path / "rounded")
    opened, want = open_checkpoint(tmp_path / "model.gguf"), open_checkpoint(rounded).weights
    products = {name for name, parameter in parameters_of(opened.spec).items() if parameter.product}
    assert set(opened.quantized) == products
    assert {opened.quantized[name].scheme for name in products} == {BLOCK_SCHEMES[kind]}
    for parameter, array in want.items():
        found = opened.weights[parameter].astype(np.float32)
        np.testing.assert_allclose(found, array.astype(np.float32), rtol=1e-6, atol=1e-9, err_msg=parameter)


def test_a_type_that_edge_does_not_decode_is_refused_where_it_is_used(small: Callable[[str], Small]) -> None:
    opened = open_gguf(small("llama").file)
    undecoded = replace(opened.tensors["blk.0.ffn_up.weight"], kind="IQ2_XXS")
    source = source_with(opened, tensors={**opened.tensors, "mm.0.weight": undecoded})
    assert source.read().spec, "a tensor that Edge does not use keeps a file from opening"
    with pytest.raises(CheckpointError, match=r"type IQ2_XXS \('blk\.0\.ffn_up\.weight'\), .* Q4_K_M or Q8_0"):
        source_with(opened, tensors={**opened.tensors, "blk.0.ffn_up.weight": undecoded}).read()
